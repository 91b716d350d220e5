/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Who a process is, and who wants it. */
#pragma once

#include "maps.bpf.h"

/* A process's masks as they are now: its entry's, or those of the directives without a condition.
 * Nothing is wanted of the agent itself. */
static __always_inline __u64 tawon_wanted(__u32 source, __u32 tgid, __u64 start, __u16 *flags)
{
	__u32 zero = 0;
	struct tawon_watch *watch;

	*flags = 0;
	if (tgid == tawon_config.agent)
		return 0;
	watch = bpf_map_lookup_elem(&tawon_watched, &tgid);
	if (!watch || watch->start != start)
		watch = bpf_map_lookup_elem(&tawon_default, &zero);
	if (!watch)
		return 0;
	if (watch->flags & TAWON_F_PENDING) {
		*flags = TAWON_F_PENDING;
		return ~0ULL;
	}
	return watch->mask[source];
}

static __always_inline __u64 process_start(struct task_struct *task)
{
	return BPF_CORE_READ(task, group_leader, start_boottime);
}
