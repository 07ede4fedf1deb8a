# SPDX-License-Identifier: Apache-2.0
cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

cdef extern from "stops.h" nogil:
    const char *const *hv_stop_names()
    int hv_stop_arm(const char *name, int signal, unsigned int skip)

cdef extern from "seam.h" nogil:
    const char *SEAM_CAPSULE
    struct seam_port:
        int descriptor

cdef extern from "attachment.h" nogil:
    struct hv_header:
        pass
    struct hv_attachment:
        hv_header *state
    hv_attachment *hv_attach(int state, uint32_t partition, const char **why)
    int hv_attach_ram(hv_attachment *attachment, uint32_t partition, int ram)
    int hv_attach_doorbell(hv_attachment *attachment, uint32_t adapter, int descriptor, int kind)
    int hv_attach_receiver(hv_attachment *attachment, uint32_t adapter, int descriptor)
    void hv_detach(hv_attachment *attachment)
    seam_port *hv_port_open(hv_attachment *attachment, uint64_t unit_address, int64_t *code)
    void hv_port_close(seam_port *port)
    int64_t hv_port_transfer(seam_port *port, uint64_t unit_address, uint64_t ioba, uint64_t length, int file, int writes)
    int64_t hv_reap(hv_attachment *attachment)
    int hv_obstructs(hv_header *state, uint32_t partition)
    int64_t hv_post_event(hv_attachment *attachment, uint64_t unit_address, uint64_t code)
    int hv_zero(int ram, uint64_t size)
    struct hv_patience:
        uint64_t alarm_ns
        uint64_t limit_ns
    struct hv_caller:
        pass
    int64_t hv_caller_open(hv_caller *caller, hv_attachment *attachment)
    void hv_caller_close(hv_caller *caller)
    int64_t hv_call_patiently(hv_caller *caller, uint64_t opcode, uint64_t *registers, const hv_patience *patience)

cdef extern from "console.h" nogil:
    enum: SUM_LIMIT
    enum: CALL_LIMIT
    enum: SUM_COPIES
    enum: SUM_BYTES
    enum: SUM_INTERRUPTS
    enum: SUM_TRANSFERS
    enum: SUM_TRANSFERRED
    struct hv_plan:
        pass
    struct hv_trace_entry:
        uint64_t sequence
        uint64_t time_ns
        uint64_t partition
        uint64_t unit_address
        uint64_t opcode
        uint64_t input "in"[6]
        int64_t code
        uint64_t output "out"[2]
    hv_plan *hv_plan_new(uint32_t partitions, uint32_t adapters, uint64_t trace_entries)
    void hv_plan_partition(hv_plan *plan, uint32_t index, const char *name, uint32_t number, uint32_t adapters,
                           uint64_t memory, uint64_t uuid_high, uint64_t uuid_low)
    void hv_plan_adapter(hv_plan *plan, uint32_t index, uint32_t partition, uint32_t partner, uint32_t unit_address,
                         uint32_t server, uint64_t window, const char *location)
    void hv_plan_storage(hv_plan *plan, uint32_t index)
    void hv_plan_facts(hv_plan *plan, const uint64_t *facts)
    int hv_plan_absent(hv_plan *plan, uint64_t opcode)
    int hv_plan_fault(hv_plan *plan, uint64_t opcode, int64_t code, uint32_t period)
    int hv_plan_carry_out(hv_plan *plan)
    int hv_memory(const char *name, uint64_t size)
    const char *hv_call_name(uint32_t index)
    void hv_sum(hv_header *state, uint32_t adapter, uint64_t *sums)
    void hv_sum_other(hv_header *state, uint32_t partition, uint64_t *sums)
    void hv_reset_counters(hv_header *state)
    void hv_set_trace(hv_header *state, int enabled)
    void hv_set_weak(hv_header *state, int enabled, uint32_t seed)
    void hv_set_prices(hv_header *state, uint64_t ns_per_call, uint64_t ns_per_kib)
    int hv_read_trace(hv_header *state, uint64_t sequence, hv_trace_entry *entry)
    uint64_t hv_trace_last(hv_header *state)
    uint32_t hv_crq_state(hv_header *state, uint32_t adapter)
    double hv_measure(seam_port *port, int what, uint64_t rounds, uint64_t length)

# A capsule that closes its port when the last owner lets go of it; and calls that need an address of a local.
cdef extern from *:
    """
    static void binding_close(PyObject *capsule)
    {
        hv_port_close((struct seam_port *)PyCapsule_GetPointer(capsule, SEAM_CAPSULE));
    }
    static PyObject *binding_capsule(struct seam_port *port)
    {
        PyObject *capsule = PyCapsule_New(port, SEAM_CAPSULE, binding_close);

        if (!capsule)
            hv_port_close(port);
        return capsule;
    }
    static struct seam_port *binding_port(PyObject *capsule)
    {
        return (struct seam_port *)PyCapsule_GetPointer(capsule, SEAM_CAPSULE);
    }
    static const char *binding_refusal;
    static struct hv_attachment *binding_attach(int state, uint32_t partition)
    {
        return hv_attach(state, partition, &binding_refusal);
    }
    static const char *binding_why(void) { return binding_refusal ? binding_refusal : "the state cannot be mapped"; }
    """
    hv_attachment *binding_attach(int state, uint32_t partition)
    const char *binding_why()
    object binding_capsule(seam_port *port)
    seam_port *binding_port(object capsule) except NULL

cdef class Attachment:
    cdef hv_attachment *attachment
    cdef hv_header *state(self) except NULL
    @cython.locals(code=int64_t)
    cpdef object open(self, uint64_t unit_address)
    @cython.locals(caller=hv_caller, patience=hv_patience, registers=uint64_t[9], code=int64_t, number=uint64_t)
    cpdef object call_as_guest(self, uint64_t opcode, object arguments, double alarm, double limit)
    @cython.locals(code=int64_t)
    cpdef object reap(self)
    @cython.locals(sums=uint64_t[40])
    cpdef dict counters(self, uint32_t adapter)
    @cython.locals(sums=uint64_t[40])
    cpdef dict other_counters(self, uint32_t partition)
    @cython.locals(entry=hv_trace_entry)
    cpdef object trace_entry(self, uint64_t sequence)

@cython.locals(values=uint64_t[32])
cpdef int create(object partitions, object adapters, object facts, object absent, object faults, uint64_t trace,
                 object storage=*) except -1

@cython.locals(letter=int, answer=double)
cpdef double measure(object capsule, str what, uint64_t rounds, uint64_t length) except? -2

@cython.locals(answer=int64_t)
cpdef int64_t transfer(object capsule, uint64_t unit_address, uint64_t ioba, uint64_t length, int file, int writes) except? -2

cdef dict _sums(uint64_t *sums)
