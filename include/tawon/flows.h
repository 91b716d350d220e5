/* SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause */
/* Records of the flows source. */
#pragma once

#include <tawon/record.h>

#define TAWON_FLOW_CONNECTED 1 /* tawon_flow: an outbound connection is established */
#define TAWON_FLOW_ARRIVED 2 /* tawon_flow: an inbound connection is established, nobody has accepted it yet */
#define TAWON_FLOW_CLAIMED 3 /* tawon_claim: somebody accepted it, or sent or received first on a UDP socket */
#define TAWON_FLOW_ENDED 4 /* tawon_flow: with its statistics */
#define TAWON_FLOW_DATAGRAM 5 /* tawon_flow: the first datagram between a UDP socket and a peer */
#define TAWON_FLOW_RELEASED 6 /* tawon_claim: a UDP socket was closed */
#define TAWON_FLOW_LISTENING 7 /* tawon_flow: a socket listens */
#define TAWON_FLOW_UNLISTENED 8 /* tawon_claim: it does no longer */
#define TAWON_FLOW_OPEN 9 /* tawon_flow: from an iterator: open now, statistics so far */
#define TAWON_FLOW_KINDS 10

#define TAWON_OUTBOUND 1
#define TAWON_INBOUND 2

#define TAWON_CLOSE_FIN 1
#define TAWON_CLOSE_RST_SENT 2
#define TAWON_CLOSE_RST_RECEIVED 3
#define TAWON_CLOSE_TIMEOUT 4
#define TAWON_CLOSE_ABORTED 5
#define TAWON_CLOSE_NEVER_ACCEPTED 6
#define TAWON_CLOSE_ERROR 7

/* A socket's flow. Also what the socket map holds (key: address of the struct sock). */
struct tawon_flow {
	/* What a claim changes and most decisions need stands in the first cache line. */
	struct tawon_header header;
	__u64 flow; /* the flow's number, unique per boot */
	__u64 process_start; /* of the owner; 0: no owner */
	__u32 tgid; /* owner */
	__u32 tid; /* thread that claimed it; 0: unknown */
	__u8 family; /* 2, 10 */
	__u8 protocol; /* 6, 17 */
	__u8 direction; /* TAWON_OUTBOUND, TAWON_INBOUND; 0: unknown */
	__u8 reason; /* TAWON_CLOSE_* */
	__u8 claimed; /* an owner is known, or known to be of no interest */
	__u8 reset; /* TAWON_CLOSE_RST_*: seen on the socket so far */
	__u8 listening;
	__u8 closed; /* state CLOSE was reached, ended is to be sent */
	__u16 local_port; /* host order */
	__u16 peer_port;
	__u32 netns; /* inode number */
	__u64 sock; /* TCP: the socket's address; UDP: a number of its own, since addresses are used again */
	__u64 started; /* ns of CLOCK_MONOTONIC; 0: before the agent */
	__u64 established; /* likewise; 0: never, or before */
	__u64 ended; /* likewise; 0: open */
	__u64 cookie; /* 0: nobody has asked for it */
	__u64 bytes_rx; /* payload, each byte once */
	__u64 bytes_tx;
	__u32 segs_rx;
	__u32 segs_tx;
	__u32 retrans_tx;
	__u32 rtt_us;
	__u32 min_rtt_us;
	__u32 mark;
	__u8 local[16]; /* IPv4 as IPv4-mapped IPv6 */
	__u8 peer[16];
	__u8 congestion[16];
	__s32 error; /* errno with TAWON_CLOSE_ERROR */
	__u8 wildcard; /* UDP: bound to no address; `local` is the datagram's */
	__u8 pad[3];
};

/* The short record: what changes a flow that is known. 64 bytes. */
struct tawon_claim {
	struct tawon_header header;
	__u64 flow; /* 0: all flows of the socket */
	__u64 sock;
	__u64 process_start;
	__u32 tgid;
	__u32 tid;
	__u64 pad;
};

/* A UDP socket's number and one of its peers (key), and what went between them. */
struct tawon_peer_key {
	__u64 sock;
	__u8 peer[16];
	__u16 peer_port;
	__u16 pad[3];
};

struct tawon_peer {
	__u64 flow;
	__u64 started;
	__u64 last;
	__u64 bytes_rx;
	__u64 bytes_tx;
	__u32 segs_rx;
	__u32 segs_tx;
};
