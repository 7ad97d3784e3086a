/* Sends ranges with plain (not registered) strings, as torch.cuda.nvtx does. */
#include <nvtx3/nvToolsExt.h>

__attribute__((visibility("default"))) void push_plain(const char *name) { nvtxRangePushA(name); }
__attribute__((visibility("default"))) void pop_plain(void) { nvtxRangePop(); }
