/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* How records of flows leave the kernel, and what can go wrong on the way. */
#pragma once

#include "socket.bpf.h"

/* Error numbers; src/agent/plans.rs names them. */
#define ERROR_STATE_OUTPUT 0
#define ERROR_RESET_OUTPUT 1
#define ERROR_DESTROY_OUTPUT 2
#define ERROR_ACCEPT_OUTPUT 3
#define ERROR_DATAGRAM_OUTPUT 4
#define ERROR_OWNER_OUTPUT 5
#define ERROR_RELEASE_OUTPUT 6
#define ERROR_STATE_FULL 7
#define ERROR_ACCEPT_FULL 8
#define ERROR_DATAGRAM_FULL 9
#define ERROR_OWNER_FULL 10
#define ERROR_STATE_REFUSED 11
#define ERROR_ACCEPT_REFUSED 12
#define ERROR_DATAGRAM_REFUSED 13
#define ERROR_OWNER_REFUSED 14
#define ERROR_DATAGRAM_SOCKET_FULL 15
#define ERROR_DATAGRAM_SOCKET_REFUSED 16
#define ERROR_EXISTING_FULL 17
#define ERROR_EXISTING_REFUSED 18
#define ERROR_STATE_MISSED 19
#define ERROR_STATE_REPLACED 20
#define ERROR_GONE 21

/* Sends a copy: what stands in the map may be changed by another CPU meanwhile. */
static __always_inline void send_flow(void *ctx, const struct tawon_flow *flow, __u16 kind, __u64 now, __u32 failed)
{
	struct tawon_flow copy = *flow;

	copy.header.time = now;
	copy.header.kind = kind;
	copy.header.size = sizeof(copy);
	tawon_emit(ctx, &copy.header, sizeof(copy), failed);
}

static __always_inline void send_claim(void *ctx, const struct tawon_flow *flow, __u16 kind, __u64 now, __u32 failed)
{
	struct tawon_claim claim = {};

	claim.header = flow->header;
	claim.header.time = now;
	claim.header.kind = kind;
	claim.header.size = sizeof(claim);
	claim.flow = flow->flow;
	claim.sock = flow->sock;
	claim.process_start = flow->process_start;
	claim.tgid = flow->tgid;
	claim.tid = flow->tid;
	tawon_emit(ctx, &claim.header, sizeof(claim), failed);
}
