# The CUDA backend: libraries lz_cuda (core/cuda + kernels/cuda) and lz_zero_cuda (zero/cuda), benchmarks and GPU tests.
#
# To be included by the top CMakeLists.txt after lz_core, lz_kernels, lz_test_main and llama_zero_tests() exist:
#
#   include(CheckLanguage)
#   check_language(CUDA)            # looks at CMAKE_CUDA_COMPILER, CUDACXX and the PATH
#   if(CMAKE_CUDA_COMPILER)
#     include(cmake/cuda.cmake)
#   else()
#     message(STATUS "nvcc not found: building for the CPU only")
#   endif()
#
# What uses the backend links lz_cuda and sees LLAMA_ZERO_WITH_CUDA; its public headers (core/cuda/cuda_device.h,
# kernels/cuda/cuda_ops.h) contain no CUDA. The sources are .cu and .cuh only, so that the globs of lz_core and lz_kernels
# pass them by.

if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)
set(CMAKE_CUDA_FLAGS_RELWITHDEBINFO "-O3 -lineinfo")
find_package(CUDAToolkit REQUIRED)

# The host flags that libraries hand on mean nothing to nvcc: keep them for the host languages.
get_target_property(host_options llama_zero_flags INTERFACE_COMPILE_OPTIONS)
set_target_properties(llama_zero_flags PROPERTIES
  INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:C,CXX>:${host_options}>")

# How every library of .cu files is compiled.
function(llama_zero_cuda_flags target)
  # fmt switches constexpr off when it sees nvcc's front end, which then rejects its own format-string checks.
  target_compile_definitions(${target} PRIVATE FMT_USE_CONSTEXPR=1)
  target_compile_options(${target} PRIVATE
    "SHELL:-Werror all-warnings"
    "SHELL:-Xcompiler=-Wall,-Wextra,-Wshadow,-Wnon-virtual-dtor,-ffp-contract=off")
  # Older CMake releases do not know that nvcc has C++20: then the flag is ours, and the standard inherited from C++ is let go.
  if("cuda_std_20" IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
    set_target_properties(${target} PROPERTIES CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_EXTENSIONS OFF)
  else()
    set_target_properties(${target} PROPERTIES CUDA_STANDARD_REQUIRED OFF)
    target_compile_options(${target} PRIVATE -std=c++20)
  endif()
endfunction()

file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS core/cuda/*.cu kernels/cuda/*.cu)
add_library(lz_cuda STATIC ${cuda_sources})
# cuBLASLt, cuDNN and NCCL are opened when they are wanted: a run on the CPU neither needs nor loads them.
target_link_libraries(lz_cuda PUBLIC lz_kernels PRIVATE ${CMAKE_DL_LIBS})
target_compile_definitions(lz_cuda PUBLIC LLAMA_ZERO_WITH_CUDA)
llama_zero_cuda_flags(lz_cuda)

include(${CMAKE_CURRENT_LIST_DIR}/cudnn.cmake)

# These promise the CPU's bits: no contraction into fma beyond what the source writes.
set_source_files_properties(kernels/cuda/elementwise.cu kernels/cuda/norms.cu kernels/cuda/optimizer.cu
  PROPERTIES COMPILE_OPTIONS "-fmad=false")

# Collectives on GPU buffers. NCCL is opened when it is wanted: its header alone decides whether it is built in.
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
file(GLOB zero_cuda_sources CONFIGURE_DEPENDS zero/cuda/*.cu)
if(NOT NCCL_INCLUDE_DIR)
  message(STATUS "nccl.h not found: building without NCCL, ranks exchange through MPI and host memory")
  list(FILTER zero_cuda_sources EXCLUDE REGEX "/nccl_(api|watch)\\.cu$")
endif()
add_library(lz_zero_cuda STATIC ${zero_cuda_sources})
target_link_libraries(lz_zero_cuda PUBLIC lz_zero lz_cuda PRIVATE CUDA::cudart_static ${CMAKE_DL_LIBS})
if(NCCL_INCLUDE_DIR)
  target_include_directories(lz_zero_cuda PRIVATE ${NCCL_INCLUDE_DIR})
  target_compile_definitions(lz_zero_cuda PRIVATE LLAMA_ZERO_WITH_NCCL)
endif()
llama_zero_cuda_flags(lz_zero_cuda)

# The program computes on a GPU where there is one.
target_link_libraries(lz_launcher PUBLIC lz_zero_cuda)

file(GLOB step_bench_sources CONFIGURE_DEPENDS zero/bench/*.cpp)
add_executable(step_bench ${step_bench_sources})
target_link_libraries(step_bench PRIVATE lz_zero lz_cuda CLI11::CLI11 nlohmann_json::nlohmann_json)
set_target_properties(step_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin BUILD_RPATH "\$ORIGIN/lib")

target_link_libraries(kernel_bench PRIVATE lz_cuda)

add_executable(attention_bench kernels/cuda/attention/bench/attention_bench.cpp)
target_link_libraries(attention_bench PRIVATE lz_cuda CUDA::cudart_static)
set_target_properties(attention_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

# What a machine gives to offloading; needs no CUDA compiler, but a GPU to run.
add_executable(host_probe EXCLUDE_FROM_ALL kernels/bench/cuda/host_probe.cpp)
target_link_libraries(host_probe PRIVATE lz_core OpenMP::OpenMP_CXX CUDA::cudart_static)
set_target_properties(host_probe PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

llama_zero_tests(gpu gpu lz_cuda)
# One rank, and three under mpirun: collectives staged through host memory.
llama_zero_tests(gpu_dist gpu_dist lz_zero_cuda)
add_test(NAME gpu_dist_ranks COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} 3 $<TARGET_FILE:gpu_dist_tests>)

# Where the toolkit's libraries are, for those that are opened by name.
foreach(target llama_zero kernel_bench step_bench comm_bench train_bench attention_bench gpu_tests gpu_dist_tests program_tests unit_launcher_tests)
  if(TARGET ${target})
    set_property(TARGET ${target} APPEND PROPERTY BUILD_RPATH ${CUDAToolkit_LIBRARY_DIR})
  endif()
endforeach()
