/* Records what a process sends through NVTX, one JSON object a line, to the file named in NVTX_RECORDER_LOG.
 *
 * NVTX loads the library named in NVTX_INJECTION64_PATH and calls InitializeInjectionNvtx2, which puts our functions
 * into the tables of the API (nvtxDetail/nvtxTypes.h). Every event is one write(2) to a file opened for appending, so
 * events of several threads and processes keep whole lines and a reader can follow along.
 *
 * NVTX_RECORDER_FAULT makes it a worse tool: `no-extensions` refuses NVTX's extensions, as nsys 2022.4.2 and 2023.4.4 do,
 * so that nvtxDomainIsEnabled answers no; `crash` dies while NVTX is initialised, `crash-push` at the first range, and
 * `hang` never comes back from it.
 *
 * Fields: event (push, pop, start, end, mark, domain), ns (CLOCK_MONOTONIC), pid, tid, domain (null: the default one),
 * name, registered (a registered string, not a plain one), id (of start and end).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <nvtx3/nvToolsExt.h>

#define NAME_BYTES 512
#define LINE_BYTES 4096

/* What domain and string handles point to; never freed, for handles have no end that all users keep to. */
struct nvtxDomainRegistration_st { char *name; };
struct nvtxStringRegistration_st { char *text; };

static int log_fd = -1;
static int crash_at_push = 0;
static uint64_t last_id = 0;
static pthread_mutex_t id_lock = PTHREAD_MUTEX_INITIALIZER;

static void escape(char *out, size_t size, const char *text)
{
    size_t at = 0;
    for (; *text && at + 7 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            out[at++] = '\\';
            out[at++] = (char)c;
        } else if (c < 0x20) {
            at += (size_t)snprintf(out + at, size - at, "\\u%04x", c);
        } else {
            out[at++] = (char)c;
        }
    }
    out[at] = 0;
}

static void record(const char *event, const char *domain, const char *name, int registered, uint64_t id)
{
    char line[LINE_BYTES], quoted[NAME_BYTES * 2];
    struct timespec now;
    int at;
    if (crash_at_push && !strcmp(event, "push"))
        raise(SIGSEGV);
    if (log_fd < 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &now);
    at = snprintf(line, sizeof line, "{\"event\": \"%s\", \"ns\": %lld, \"pid\": %d, \"tid\": %ld", event,
                  (long long)now.tv_sec * 1000000000LL + now.tv_nsec, (int)getpid(), syscall(SYS_gettid));
    if (domain) {
        escape(quoted, sizeof quoted, domain);
        at += snprintf(line + at, sizeof line - (size_t)at, ", \"domain\": \"%s\"", quoted);
    } else {
        at += snprintf(line + at, sizeof line - (size_t)at, ", \"domain\": null");
    }
    if (name) {
        escape(quoted, sizeof quoted, name);
        at += snprintf(line + at, sizeof line - (size_t)at, ", \"name\": \"%s\", \"registered\": %s", quoted,
                       registered ? "true" : "false");
    }
    if (id)
        at += snprintf(line + at, sizeof line - (size_t)at, ", \"id\": %llu", (unsigned long long)id);
    at += snprintf(line + at, sizeof line - (size_t)at, "}\n");
    if (write(log_fd, line, (size_t)at) < 0)
        log_fd = -1;
}

static void record_attributes(const char *event, nvtxDomainHandle_t domain, const nvtxEventAttributes_t *what, uint64_t id)
{
    const char *name = "";
    int registered = 0;
    if (what && what->messageType == NVTX_MESSAGE_TYPE_ASCII && what->message.ascii) {
        name = what->message.ascii;
    } else if (what && what->messageType == NVTX_MESSAGE_TYPE_REGISTERED && what->message.registered) {
        name = what->message.registered->text;
        registered = 1;
    }
    record(event, domain ? domain->name : NULL, name, registered, id);
}

static uint64_t next_id(void)
{
    uint64_t id;
    pthread_mutex_lock(&id_lock);
    id = ++last_id;
    pthread_mutex_unlock(&id_lock);
    return id;
}

static int NVTX_API push_a(const char *name) { record("push", NULL, name, 0, 0); return 0; }
static int NVTX_API push_ex(const nvtxEventAttributes_t *what) { record_attributes("push", NULL, what, 0); return 0; }
static int NVTX_API pop(void) { record("pop", NULL, NULL, 0, 0); return 0; }
static void NVTX_API mark_a(const char *name) { record("mark", NULL, name, 0, 0); }
static void NVTX_API mark_ex(const nvtxEventAttributes_t *what) { record_attributes("mark", NULL, what, 0); }
static nvtxRangeId_t NVTX_API start_a(const char *name)
{
    uint64_t id = next_id();
    record("start", NULL, name, 0, id);
    return id;
}
static nvtxRangeId_t NVTX_API start_ex(const nvtxEventAttributes_t *what)
{
    uint64_t id = next_id();
    record_attributes("start", NULL, what, id);
    return id;
}
static void NVTX_API end(nvtxRangeId_t id) { record("end", NULL, NULL, 0, id); }

static void NVTX_API domain_mark(nvtxDomainHandle_t d, const nvtxEventAttributes_t *what) { record_attributes("mark", d, what, 0); }
static int NVTX_API domain_push(nvtxDomainHandle_t d, const nvtxEventAttributes_t *what)
{
    record_attributes("push", d, what, 0);
    return 0;
}
static int NVTX_API domain_pop(nvtxDomainHandle_t d) { record("pop", d ? d->name : NULL, NULL, 0, 0); return 0; }
static nvtxRangeId_t NVTX_API domain_start(nvtxDomainHandle_t d, const nvtxEventAttributes_t *what)
{
    uint64_t id = next_id();
    record_attributes("start", d, what, id);
    return id;
}
static void NVTX_API domain_end(nvtxDomainHandle_t d, nvtxRangeId_t id) { record("end", d ? d->name : NULL, NULL, 0, id); }
static nvtxStringHandle_t NVTX_API register_string(nvtxDomainHandle_t d, const char *text)
{
    nvtxStringHandle_t handle = malloc(sizeof *handle);
    (void)d;
    handle->text = strndup(text, NAME_BYTES);
    return handle;
}
static nvtxDomainHandle_t NVTX_API create_domain(const char *name)
{
    nvtxDomainHandle_t handle = malloc(sizeof *handle);
    handle->name = strndup(name, NAME_BYTES);
    record("domain", handle->name, NULL, 0, 0);
    return handle;
}

static int fault(const char *name)
{
    const char *asked = getenv("NVTX_RECORDER_FAULT");
    return asked && !strcmp(asked, name);
}

/* Called for each extension of NVTX that the process uses; without this symbol every domain would be enabled. */
__attribute__((visibility("default"))) int InitializeInjectionNvtxExtension(void *module) { (void)module; return !fault("no-extensions"); }

static void put(NvtxFunctionTable table, unsigned int size, unsigned int index, NvtxFunctionPointer function)
{
    if (index < size && table[index])
        *table[index] = function;
}

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(NvtxGetExportTableFunc_t get_table)
{
    const char *path = getenv("NVTX_RECORDER_LOG");
    const NvtxExportTableCallbacks *callbacks;
    NvtxFunctionTable core = NULL, core2 = NULL;
    unsigned int core_size = 0, core2_size = 0;
    if (fault("crash"))
        raise(SIGSEGV);
    while (fault("hang"))
        sleep(60);
    crash_at_push = fault("crash-push");
    callbacks = (const NvtxExportTableCallbacks *)get_table(NVTX_ETID_CALLBACKS);
    if (!path || !callbacks || !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE, &core, &core_size) ||
        !callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &core2, &core2_size))
        return 0;
    if (log_fd < 0)
        log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    put(core, core_size, NVTX_CBID_CORE_MarkEx, (NvtxFunctionPointer)mark_ex);
    put(core, core_size, NVTX_CBID_CORE_MarkA, (NvtxFunctionPointer)mark_a);
    put(core, core_size, NVTX_CBID_CORE_RangeStartEx, (NvtxFunctionPointer)start_ex);
    put(core, core_size, NVTX_CBID_CORE_RangeStartA, (NvtxFunctionPointer)start_a);
    put(core, core_size, NVTX_CBID_CORE_RangeEnd, (NvtxFunctionPointer)end);
    put(core, core_size, NVTX_CBID_CORE_RangePushEx, (NvtxFunctionPointer)push_ex);
    put(core, core_size, NVTX_CBID_CORE_RangePushA, (NvtxFunctionPointer)push_a);
    put(core, core_size, NVTX_CBID_CORE_RangePop, (NvtxFunctionPointer)pop);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainMarkEx, (NvtxFunctionPointer)domain_mark);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainRangeStartEx, (NvtxFunctionPointer)domain_start);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainRangeEnd, (NvtxFunctionPointer)domain_end);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainRangePushEx, (NvtxFunctionPointer)domain_push);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainRangePop, (NvtxFunctionPointer)domain_pop);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainRegisterStringA, (NvtxFunctionPointer)register_string);
    put(core2, core2_size, NVTX_CBID_CORE2_DomainCreateA, (NvtxFunctionPointer)create_domain);
    return 1;
}
