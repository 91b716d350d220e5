/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Events that the kernel leaves out. Since 6.1 a tracing program is not run for an event that comes while
 * the same program is running on the same CPU: in an interrupt, which handing a record over raises and
 * behind which all packets that wait are worked on, so that one interrupted run can cost hundreds of events;
 * since 7.0 also from another task, to which the first has given way in the middle. So the programs that
 * this would hurt have a copy, attached behind them, that acts for what the first was not run for. */
#pragma once

#include "maps.bpf.h"

#define TAWON_PAIRS 4
#define TAWON_STACKS 4096
#define TAWON_STACK_SHIFT 14 /* kernel stacks have 16 KiB or more */

/* The arguments that the first of each pair has been run with, by the stack on which they lie: both of a
 * pair get them at the same place, whatever comes between them and wherever the task is moved to. */
struct tawon_pairs {
	__u64 seen[TAWON_PAIRS][TAWON_STACKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tawon_pairs);
} tawon_pairs SEC(".maps");

static __always_inline __u64 *tawon_seen(void *ctx, __u32 pair)
{
	__u32 zero = 0;
	struct tawon_pairs *pairs = bpf_map_lookup_elem(&tawon_pairs, &zero);

	/* The verifier gives a number for the distance of two pointers, not for one pointer. */
	return pairs ? &pairs->seen[pair][(((__u64)ctx - (__u64)pairs) >> TAWON_STACK_SHIFT) % TAWON_STACKS] : NULL;
}

/* The first of a pair says that it runs. */
static __always_inline void tawon_runs(void *ctx, __u32 pair)
{
	__u64 *seen = tawon_seen(ctx, pair);

	if (seen)
		*seen = (__u64)ctx;
}

/* The copy asks whether it has to act. */
static __always_inline int tawon_left_out(void *ctx, __u32 pair)
{
	__u64 *seen = tawon_seen(ctx, pair);

	if (!seen)
		return 0;
	if (*seen == (__u64)ctx) {
		*seen = 0;
		return 0;
	}
	tawon_count(TAWON_COUNT_AGAIN + pair);
	return 1;
}
