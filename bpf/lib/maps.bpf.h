/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* The maps that every source has, and the way records and counts leave the kernel. */
#pragma once

#include "compat.bpf.h"
#include <tawon/record.h>

/* Set before load, then constant: what is off is never verified. */
const volatile struct tawon_config tawon_config SEC(".rodata.config") = {};

/* May be set at any time. */
volatile struct tawon_live tawon_live SEC(".data.live") = {};

/* Which directives want a process. One map for all sources: the first source's is reused. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct tawon_watch);
} tawon_watched SEC(".maps");

/* Key 0: the masks of the directives without a condition, for processes that have no entry. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tawon_watch);
} tawon_default SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} tawon_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} tawon_ring SEC(".maps");

/* Counts per CPU: what was produced and what found no room, by kind; then what went wrong, by the
 * numbers that each source gives to its errors; then, by program, what its copies acted for since it was
 * not run (again.bpf.h). */
#define TAWON_COUNT_PRODUCED 0
#define TAWON_COUNT_LOST 16
#define TAWON_COUNT_ERROR 32
#define TAWON_COUNT_AGAIN 56
#define TAWON_COUNTS 64

struct tawon_slots {
	__u64 slot[TAWON_COUNTS];
};

/* All in one value: user space gets them with one look-up. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tawon_slots);
} tawon_counts SEC(".maps");

static __always_inline void tawon_count(__u32 slot)
{
	__u32 zero = 0;
	struct tawon_slots *counts = bpf_map_lookup_elem(&tawon_counts, &zero);

	/* Atomic: an interrupt's program may count between our read and our write. */
	if (counts)
		__sync_fetch_and_add(&counts->slot[slot % TAWON_COUNTS], 1);
}

/* A map took no entry: `full`, or `refused` for any other reason, such as that its lock is held by what was
 * interrupted (EBUSY) or that there is no memory (ENOMEM). An int, since before 6.4 the maps' functions, which the
 * kernel calls in place of the helper, say no more than that of their errors. */
static __always_inline void tawon_not_taken(int error, __u32 full, __u32 refused)
{
	tawon_count(TAWON_COUNT_ERROR + (error == -E2BIG || error == -ENOSPC ? full : refused));
}

/* Hands a record over; 0 if it has gone. `failed` is the source's error number for a failure that is not
 * want of room. */
static __always_inline long tawon_emit(void *ctx, struct tawon_header *record, __u32 size, __u32 failed)
{
	__u32 kind = record->kind & 15;
	long error;

	if (tawon_config.ring_buffer) {
		__u64 waiting = bpf_ringbuf_query(&tawon_ring, BPF_RB_AVAIL_DATA);

		error = bpf_ringbuf_output(&tawon_ring, record, size,
					   waiting >= tawon_config.wakeup_bytes ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
		if (error == -EAGAIN)
			error = -ENOSPC;
	} else {
		error = bpf_perf_event_output(ctx, &tawon_events, BPF_F_CURRENT_CPU, record, size);
	}
	if (error && error != -ENOSPC) {
		tawon_count(TAWON_COUNT_ERROR + failed);
		return error;
	}
	tawon_count(TAWON_COUNT_PRODUCED + kind);
	if (error)
		tawon_count(TAWON_COUNT_LOST + kind);
	return error;
}
