// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The producer of benches/ring.rs: claims of flows, 64 bytes each, as many as it is asked for. Stands
 * apart from bpf/lib, whose headers of libbpf are only found by the build script. */
#include <vmlinux.h>
#include <tawon/flows.h>

#define SEC(name) __attribute__((section(name), used))

static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_perf_event_output)(void *ctx, void *map, __u64 flags, void *data,
				     __u64 size) = (void *)25;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	int (*type)[BPF_MAP_TYPE_PERF_EVENT_ARRAY];
	int (*key_size)[4];
	int (*value_size)[4];
} tawon_events SEC(".maps");

/* The context, as the caller fills it. */
struct call {
	__u64 args[6]; /* how many; the first; how many flows there are; whether to take them in a scattered
			* order; the first owner's pid; how many owners */
};

SEC("raw_tp")
int tawon_produce(struct call *ctx)
{
	__u64 count = ctx->args[0], first = ctx->args[1], flows = ctx->args[2], scattered = ctx->args[3];
	__u64 pid = ctx->args[4], owners = ctx->args[5];
	struct tawon_claim claim = {};
	__u32 i;

	claim.header.mask = 1;
	claim.header.size = sizeof(claim);
	claim.header.kind = TAWON_FLOW_CLAIMED;
	claim.process_start = 5000000000;
	if (!flows || !owners)
		return 0;
	for (i = 0; i < 4096; i++) {
		__u64 at = first + i;

		if (i >= count)
			break;
		if (scattered)
			at = at * 0x9e3779b97f4a7c15 >> 16;
		at %= flows;
		claim.header.time = bpf_ktime_get_ns();
		claim.flow = (at + 1) << 8;
		claim.tgid = claim.tid = pid + at % owners;
		bpf_perf_event_output(ctx, &tawon_events, BPF_F_CURRENT_CPU, &claim, sizeof(claim));
	}
	return 0;
}
