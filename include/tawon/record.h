/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* What every record that crosses from the kernel begins with. Fixed-width integers, explicit padding. */
#pragma once

struct tawon_header {
	__u64 time; /* ns of CLOCK_MONOTONIC */
	__u64 mask; /* directives of the source that want the record */
	__u32 size; /* of the whole record: samples arrive padded */
	__u16 kind; /* TAWON_EXEC_*, TAWON_FLOW_*: a number of its own in each source */
	__u16 flags; /* TAWON_F_* */
};

/* The process has exec'd and user space has not decided yet: the mask is not known. */
#define TAWON_F_PENDING 1
/* On the default entry: there are directives with a condition, so that an exec has to be decided. */
#define TAWON_F_CONDITIONS 2
/* On the end of a process: it has threads that may tell of their own end only now. */
#define TAWON_F_THREADS 4

/* On a flow that has ended: nothing was known of its socket before. */
#define TAWON_F_UNTRACKED 8

/* Sources, as indices of a watch entry's masks. */
#define TAWON_EXEC 0
#define TAWON_FLOWS 1
#define TAWON_PAYLOAD 2
#define TAWON_TLSPLAINTEXT 3
#define TAWON_RESETCONN 4
#define TAWON_SOURCES 5

/* What the watch map holds of a process (key: tgid). */
struct tawon_watch {
	__u64 start; /* ns of CLOCK_BOOTTIME: a reused pid does not inherit */
	__u64 mask[TAWON_SOURCES];
	__u32 flags; /* TAWON_F_* */
	__u32 execs; /* execve calls since the process began */
};

/* What user space sets before load. */
struct tawon_config {
	__u32 ring_buffer; /* 1: the BPF ring buffer in place of the perf event array */
	__u32 wakeup_bytes; /* of the ring buffer: wake the reader once so much waits */
	__u32 agent; /* the agent's own tgid: never watched */
	__u32 preemptible; /* 1: tasks may give way in the middle of a program (since 7.0) */
};

/* What user space may set at any time. */
struct tawon_live {
	__u32 threads; /* exec: records of threads are wanted */
	__u32 tcp; /* flows: TCP is wanted */
	__u32 udp; /* flows: UDP is wanted */
};
