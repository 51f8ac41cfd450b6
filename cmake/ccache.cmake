# Compile through ccache where it is installed. Paths below `source_folder` count as relative ones and the build folder's
# name doesn't count, so that a clone in any folder is served with what another one compiled.
function(llama_zero_use_ccache source_folder)
  find_program(CCACHE_PROGRAM ccache)
  if(CCACHE_PROGRAM)
    get_filename_component(base "${source_folder}" ABSOLUTE)
    set(launcher "${CMAKE_COMMAND}" -E env "CCACHE_BASEDIR=${base}" CCACHE_NOHASHDIR=1 "${CCACHE_PROGRAM}")
    set(CMAKE_CXX_COMPILER_LAUNCHER ${launcher} PARENT_SCOPE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${launcher} PARENT_SCOPE)
  endif()
endfunction()
