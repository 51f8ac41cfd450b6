#include "kernels/cuda/attention/flash_launch.cuh"

namespace llama_zero::cuda {

template bool flash_fits<256>(const Launch&);
template void flash_forward<256>(const FlashCall<__half>&, std::int64_t, const Launch&);
template void flash_forward<256>(const FlashCall<__nv_bfloat16>&, std::int64_t, const Launch&);
template void flash_backward<256>(const FlashCall<__half>&, std::int64_t, const Launch&);
template void flash_backward<256>(const FlashCall<__nv_bfloat16>&, std::int64_t, const Launch&);

}  // namespace llama_zero::cuda
