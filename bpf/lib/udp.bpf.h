/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* UDP: a flow per socket and peer, from the first datagram to the socket's release. */
#pragma once

#include "flow.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tawon_peer_key);
	__type(value, struct tawon_peer);
} tawon_peers SEC(".maps");

/* The first to send or receive on a UDP socket owns it. */
static __always_inline int owner(void *ctx, const struct sock *sk)
{
	struct tawon_flow *flow, fresh = {};
	__u64 start, now, key = (__u64)sk;
	__u32 tgid;
	int error;

	/* Read as they are, which the types of the hooks' arguments allow: every send and receive of TCP ends here. */
	if (!tawon_live.udp || sk->sk_protocol != IPPROTO_UDP || sk->sk_type != SOCK_DGRAM)
		return 0;
	flow = bpf_map_lookup_elem(&tawon_sockets, &key);
	tgid = bpf_get_current_pid_tgid() >> 32;
	/* Of one that was there before, the walk knows the process and not the thread. */
	if (flow && flow->claimed && (flow->tid || flow->tgid != tgid))
		return 0;
	start = process_start((void *)bpf_get_current_task());
	now = bpf_ktime_get_ns();
	if (!flow) {
		fresh.sock = flow_number(now);
		error = bpf_map_update_elem(&tawon_sockets, &key, &fresh, BPF_NOEXIST);
		/* What a datagram has put in meanwhile will do. */
		flow = bpf_map_lookup_elem(&tawon_sockets, &key);
		if (!flow) {
			tawon_not_taken(error, ERROR_OWNER_FULL, ERROR_OWNER_REFUSED);
			return 0;
		}
	}
	flow->header.mask = tawon_wanted(TAWON_FLOWS, tgid, start, &flow->header.flags);
	flow->protocol = IPPROTO_UDP;
	put_owner(flow, start);
	put_addresses(flow, sk);
	send_claim(ctx, flow, TAWON_FLOW_CLAIMED, now, ERROR_OWNER_OUTPUT);
	return 0;
}

/* Where the socket of a datagram is, and whether it is bound to an address. */
static __always_inline void put_binding(struct tawon_flow *flow, const __u64 *address)
{
	struct in6_addr bound = {};
	const struct sock *sk = NULL;

	/* A number from here on: with a pointer to a socket the verifier allows no arithmetic. */
	bpf_probe_read_kernel(&sk, sizeof(sk), address);
	flow->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		bpf_core_read(&bound, sizeof(bound), &sk->__sk_common.skc_v6_rcv_saddr);
		flow->wildcard = !bound.in6_u.u6_addr32[0] && !bound.in6_u.u6_addr32[1] && !bound.in6_u.u6_addr32[3] &&
				 (!bound.in6_u.u6_addr32[2] || bound.in6_u.u6_addr32[2] == bpf_htonl(0xffff));
	} else {
		flow->wildcard = !BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	}
}

/* One datagram, at the socket. Addresses come from the packet; what else there is of the socket is read as any memory
 * of the kernel is, since network programs may not follow its pointers. */
static __always_inline int datagram(struct __sk_buff *skb, int sending)
{
	struct bpf_sock *sk = skb->sk;
	struct tawon_peer_key key = {};
	struct tawon_peer *peer, first = {};
	struct tawon_flow *socket, told = {};
	__u32 bytes, transport, segments = skb->gso_segs ? skb->gso_segs : 1;
	__u16 ports[2];
	__u64 now, address;
	int error;

	if (!tawon_live.udp || !sk)
		return 1;
	sk = bpf_sk_fullsock(sk);
	/* A raw socket gets a copy of what a socket of UDP gets. */
	if (!sk || sk->protocol != IPPROTO_UDP || sk->type != SOCK_DGRAM)
		return 1;
	address = (__u64)sk;
	socket = bpf_map_lookup_elem(&tawon_sockets, &address);
	if (socket && socket->claimed && !socket->header.mask)
		return 1;

	if (skb->protocol == bpf_htons(0x0800)) {
		__u8 head[20];

		if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)) || head[9] != IPPROTO_UDP)
			return 1;
		transport = (head[0] & 15) * 4;
		put_mapped(key.peer, *(__be32 *)(head + (sending ? 16 : 12)));
		put_mapped(told.local, *(__be32 *)(head + (sending ? 12 : 16)));
		told.family = AF_INET;
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		__u8 head[40];
		int extensions;

		if (bpf_skb_load_bytes(skb, 0, head, sizeof(head)))
			return 1;
		transport = sizeof(head);
		for (extensions = 0; extensions < 4 && head[6] != IPPROTO_UDP; extensions++) {
			__u8 extension[2];

			/* Hop-by-hop, routing, destination options (RFC 8200 section 4.1). */
			if (head[6] != 0 && head[6] != 43 && head[6] != 60)
				return 1;
			if (bpf_skb_load_bytes(skb, transport, extension, sizeof(extension)))
				return 1;
			head[6] = extension[0];
			transport += (extension[1] + 1) * 8;
		}
		if (head[6] != IPPROTO_UDP)
			return 1;
		__builtin_memcpy(key.peer, head + (sending ? 24 : 8), 16);
		__builtin_memcpy(told.local, head + (sending ? 8 : 24), 16);
		told.family = AF_INET6;
	} else {
		return 1;
	}
	if (bpf_skb_load_bytes(skb, transport, ports, sizeof(ports)))
		return 1;
	key.peer_port = bpf_ntohs(ports[sending ? 1 : 0]);
	bytes = skb->len > transport + 8 ? skb->len - transport - 8 : 0;
	now = bpf_ktime_get_ns();

	if (!socket) {
		/* Whose it is, sock_send_length and sock_recv_length will say. */
		told.sock = flow_number(now);
		told.protocol = IPPROTO_UDP;
		told.header.mask = ~0ULL;
		told.header.flags = TAWON_F_PENDING;
		error = bpf_map_update_elem(&tawon_sockets, &address, &told, BPF_NOEXIST);
		socket = bpf_map_lookup_elem(&tawon_sockets, &address);
		if (!socket) {
			tawon_not_taken(error, ERROR_DATAGRAM_SOCKET_FULL, ERROR_DATAGRAM_SOCKET_REFUSED);
			return 1;
		}
	}
	key.sock = socket->sock;
	peer = bpf_map_lookup_elem(&tawon_peers, &key);
	if (!peer) {
		first.flow = flow_number(now);
		first.started = now;
		error = bpf_map_update_elem(&tawon_peers, &key, &first, BPF_NOEXIST);
		if (!error) {
			told.flow = first.flow;
			told.header.mask = ~0ULL;
			told.header.flags = TAWON_F_PENDING;
			told.sock = key.sock;
			told.started = now;
			told.protocol = IPPROTO_UDP;
			told.direction = sending ? TAWON_OUTBOUND : TAWON_INBOUND;
			told.local_port = bpf_ntohs(ports[sending ? 0 : 1]);
			told.peer_port = key.peer_port;
			told.mark = sk->mark;
			__builtin_memcpy(told.peer, key.peer, 16);
			put_binding(&told, &address);
			if (socket->claimed) {
				told.header.mask = socket->header.mask;
				told.header.flags = socket->header.flags;
				told.process_start = socket->process_start;
				told.tgid = socket->tgid;
				told.tid = socket->tid;
				told.claimed = socket->tid != 0;
			}
			told.header.time = now;
			told.header.kind = TAWON_FLOW_DATAGRAM;
			told.header.size = sizeof(told);
			/* What nobody was told of would never be taken out again: the next datagram tries anew. */
			if (tawon_emit(skb, &told.header, sizeof(told), ERROR_DATAGRAM_OUTPUT)) {
				bpf_map_delete_elem(&tawon_peers, &key);
				return 1;
			}
		}
		peer = bpf_map_lookup_elem(&tawon_peers, &key);
		if (!peer) {
			tawon_not_taken(error, ERROR_DATAGRAM_FULL, ERROR_DATAGRAM_REFUSED);
			return 1;
		}
	}
	peer->last = now;
	if (sending) {
		__sync_fetch_and_add(&peer->bytes_tx, bytes);
		__sync_fetch_and_add(&peer->segs_tx, segments);
	} else {
		__sync_fetch_and_add(&peer->bytes_rx, bytes);
		__sync_fetch_and_add(&peer->segs_rx, segments);
	}
	return 1;
}
