/* A driver's library as far as the auditor asks it, in the layout of nvml.h (CUDA 13.3): it answers as an H200 would.
 * The environment variable STUB_LOST makes every question about the device answer "GPU is lost". */

#include <stdlib.h>
#include <string.h>

typedef int result;
enum { SUCCESS = 0, NOT_SUPPORTED = 3, TIMEOUT = 10, LOST = 15 };
static int the_device, the_sample, the_events;
static unsigned long long energy_mj = 1000;

static result answer(void) { return getenv("STUB_LOST") ? LOST : SUCCESS; }

static result text(char *to, unsigned length, const char *from) {
    strncpy(to, from, length);
    return answer();
}

const char *nvmlErrorString(result code) { return code == LOST ? "GPU is lost" : "another error"; }
result nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
result nvmlInit_v2(void) { return SUCCESS; }
result nvmlShutdown(void) { return SUCCESS; }
result nvmlSystemGetDriverVersion(char *to, unsigned length) { return text(to, length, "580.65.06"), SUCCESS; }
result nvmlDeviceGetCount_v2(unsigned *count) { *count = 1; return SUCCESS; }
result nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) { (void)index; *handle = &the_device; return SUCCESS; }
result nvmlDeviceGetName(void *device, char *to, unsigned length) { (void)device; return text(to, length, "NVIDIA H200"); }
result nvmlDeviceGetUUID(void *device, char *to, unsigned length) { (void)device; return text(to, length, "GPU-stub"); }
result nvmlDeviceGetBrand(void *device, unsigned *brand) { (void)device; *brand = 14; return answer(); }

struct pdi { unsigned version; unsigned long long value; };
result nvmlDeviceGetPdi(void *device, struct pdi *pdi) {
    (void)device;
    pdi->value = 0x145c8e416b389d3eULL;
    return pdi->version == (sizeof(struct pdi) | 1 << 24) ? answer() : 25;
}

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
result nvmlDeviceGetPciInfo_v3(void *device, struct pci *pci) {
    (void)device;
    pci->id = 0x233510de;
    pci->subsystem = 0x18be10de;
    strcpy(pci->bus_id, "00000000:1B:00.0");
    return answer();
}

result nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules) {
    (void)device;
    *millijoules = energy_mj += 500;
    return answer();
}

struct fabric { unsigned version; unsigned char cluster[16]; result status; unsigned clique; unsigned char state; unsigned health; };
result nvmlDeviceGetGpuFabricInfoV(void *device, struct fabric *fabric) {
    (void)device;
    memset(fabric->cluster, 0xab, sizeof fabric->cluster);
    fabric->clique = 7;
    fabric->state = 3;
    return answer();
}

struct computing { unsigned environment, feature, tools; };
result nvmlSystemGetConfComputeState(struct computing *state) {
    state->environment = 2, state->feature = 1, state->tools = 0;
    return SUCCESS;
}

struct report { unsigned has_second, size, second_size; unsigned char nonce[32], report[0x2000], second[0x1000]; };
result nvmlDeviceGetConfComputeGpuAttestationReport(void *device, struct report *report) {
    (void)device;
    memcpy(report->report, report->nonce, 32);
    memcpy(report->report + 32, "signed", 6);
    report->size = 38;
    memcpy(report->second, "second", 6);
    report->has_second = 1, report->second_size = 6;
    return answer();
}

struct certificates { unsigned size, attestation_size; unsigned char chain[0x1000], attestation[0x1400]; };
result nvmlDeviceGetConfComputeGpuCertificate(void *device, struct certificates *certificates) {
    (void)device;
    memcpy(certificates->attestation, "chain", 5);
    certificates->attestation_size = 5;
    return answer();
}

struct support { unsigned version, supported; };
result nvmlGpmQueryDeviceSupport(void *device, struct support *support) { (void)device; support->supported = 1; return answer(); }
result nvmlGpmSampleAlloc(void **sample) { *sample = &the_sample; return SUCCESS; }
result nvmlGpmSampleFree(void *sample) { return sample == &the_sample ? SUCCESS : 2; }
result nvmlGpmSampleGet(void *device, void *sample) { (void)device; return sample == &the_sample ? answer() : 2; }

struct metric { unsigned id; result code; double value; struct { char *short_name, *long_name, *unit; } info; };
struct metrics { unsigned version, number; void *first, *second; struct metric metric[1]; };
result nvmlGpmMetricsGet(struct metrics *asked) {
    if (asked->version != 1 || asked->first != &the_sample || asked->second != &the_sample) return 2;
    for (unsigned i = 0; i < asked->number; i++) {
        struct metric *metric = &asked->metric[i];
        metric->code = metric->id < 20 ? SUCCESS : NOT_SUPPORTED;
        metric->value = 2.0 * metric->id; /* percent: the tensor cores have number 5 */
    }
    return SUCCESS;
}

struct event { void *device; unsigned long long type, data; unsigned gpu_instance, compute_instance; };
static int waiting = 1;
result nvmlEventSetCreate(void **events) { *events = &the_events; return SUCCESS; }
result nvmlEventSetFree(void *events) { (void)events; return SUCCESS; }
result nvmlDeviceRegisterEvents(void *device, unsigned long long kinds, void *events) {
    (void)device, (void)events;
    return kinds == 8 ? SUCCESS : 2;
}
result nvmlEventSetWait_v2(void *events, struct event *event, unsigned timeout_ms) {
    (void)events, (void)timeout_ms;
    if (!waiting) return TIMEOUT;
    waiting = 0;
    event->device = &the_device, event->type = 8, event->data = 79;
    return SUCCESS;
}
