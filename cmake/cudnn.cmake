# cuDNN's attention, where its headers and the frontend's are (scripts/install_deps.sh fetches the frontend's into the build
# folder). The library itself is opened at run time. Included by cuda.cmake after lz_cuda exists.
find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
find_path(CUDNN_FRONTEND_INCLUDE_DIR cudnn_frontend.h
  HINTS ${CMAKE_BINARY_DIR}/cudnn-frontend/include ${CMAKE_SOURCE_DIR}/build/cudnn-frontend/include)

# The one file that sees the frontend is plain C++: nvcc would read its headers once more for each architecture.
set(cudnn_graphs kernels/cuda/attention/cudnn_graphs.cu)
set(cudnn_absent kernels/cuda/attention/cudnn_graphs_absent.cu)
get_target_property(sources lz_cuda SOURCES)
if(CUDNN_INCLUDE_DIR AND CUDNN_FRONTEND_INCLUDE_DIR)
  list(FILTER sources EXCLUDE REGEX "${cudnn_graphs}$|${cudnn_absent}$")
  set_source_files_properties(${cudnn_graphs} PROPERTIES LANGUAGE CXX)
  add_library(lz_cudnn STATIC ${cudnn_graphs})
  target_include_directories(lz_cudnn SYSTEM PRIVATE
    ${CUDNN_FRONTEND_INCLUDE_DIR} ${CUDNN_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
  target_compile_definitions(lz_cudnn PRIVATE NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING)
  target_compile_options(lz_cudnn PRIVATE -O1 -g0)
  target_link_libraries(lz_cudnn PUBLIC lz_kernels ${CMAKE_DL_LIBS})
  target_link_libraries(lz_cuda PRIVATE lz_cudnn)
else()
  list(FILTER sources EXCLUDE REGEX "${cudnn_graphs}$")
  message(STATUS "cuDNN or its frontend headers not found: building without cuDNN, flash attention serves")
endif()
set_property(TARGET lz_cuda PROPERTY SOURCES ${sources})
