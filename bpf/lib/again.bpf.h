/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Events that the kernel leaves out. Since 6.1 a tracing program is not run for an event that comes while
 * the same program is running on the same CPU: in an interrupt, which handing a record over raises and
 * behind which all packets that wait are worked on, so that one interrupted run can cost hundreds of events;
 * since 7.0 also from another task, to which the first has given way in the middle, for as long as it has.
 * So the programs that this would hurt have copies, attached behind them, each of which acts for what those
 * before it were not run for: one, and for what comes of many tasks at once three since 7.0, as several may
 * have given way. Not letting a task give way is no help: it would at the end of that, still in the program. */
#pragma once

#include "maps.bpf.h"

#define TAWON_COPIED 4 /* programs of a source that have copies */
#define TAWON_STACKS 4096
#define TAWON_STACK_SHIFT 14 /* kernel stacks have 16 KiB or more */

/* The arguments that a program or a copy of it has acted for, by the stack on which they lie: all get them at
 * the same place, whatever comes between them and wherever the task is moved to. */
struct tawon_again {
	__u64 seen[TAWON_COPIED][TAWON_STACKS];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tawon_again);
} tawon_again SEC(".maps");

static __always_inline __u64 *tawon_seen(void *ctx, __u32 program)
{
	__u32 zero = 0;
	struct tawon_again *again = bpf_map_lookup_elem(&tawon_again, &zero);

	/* The verifier gives a number for the distance of two pointers, not for one pointer. */
	return again ? &again->seen[program][(((__u64)ctx - (__u64)again) >> TAWON_STACK_SHIFT) % TAWON_STACKS] : NULL;
}

/* The program itself says that it runs. */
static __always_inline void tawon_runs(void *ctx, __u32 program)
{
	__u64 *seen = tawon_seen(ctx, program);

	if (seen)
		*seen = (__u64)ctx;
}

/* A copy asks whether it has to act. `more`: there are copies behind it. */
static __always_inline int tawon_left_out(void *ctx, __u32 program, int more)
{
	__u64 *seen = tawon_seen(ctx, program);
	int acts;

	if (!seen)
		return 0;
	acts = *seen != (__u64)ctx;
	if (acts)
		tawon_count(TAWON_COUNT_AGAIN + program);
	*seen = more ? (__u64)ctx : 0;
	return acts;
}
