/* Sends ranges without the nvtx package: with plain strings, as torch.cuda.nvtx does, and with registered ones, also
 * where the package sends nothing because the tool tells it that the domain is off (nsys up to 2023.4 does). */
#include <nvtx3/nvToolsExt.h>
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void push_plain(const char *name) { nvtxRangePushA(name); }
EXPORTED void pop_plain(void) { nvtxRangePop(); }

/* NULL is the default domain. */
EXPORTED void *make_domain(const char *name) { return name ? nvtxDomainCreateA(name) : NULL; }

EXPORTED void push_registered(void *domain, const char *name)
{
    nvtxEventAttributes_t attributes = {0};
    attributes.version = NVTX_VERSION;
    attributes.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
    attributes.messageType = NVTX_MESSAGE_TYPE_REGISTERED;
    attributes.message.registered = nvtxDomainRegisterStringA(domain, name);
    nvtxDomainRangePushEx(domain, &attributes);
}

EXPORTED void pop_in(void *domain) { nvtxDomainRangePop(domain); }
