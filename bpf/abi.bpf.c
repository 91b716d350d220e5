// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* No programs: one global per struct that crosses to user space. The Rust types are made from this
 * object's BTF, so a header in include/ is the only definition of a record. */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#include <tawon/exec.h>
#include <tawon/flows.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct tawon_header header;
struct tawon_watch watch;
struct tawon_exec exec;
struct tawon_task task;
struct tawon_flow flow;
struct tawon_claim claim;
struct tawon_peer_key peer_key;
struct tawon_peer peer;
struct tawon_config config;
struct tawon_live live;

_Static_assert(sizeof(struct tawon_header) == 24, "tawon_header");
_Static_assert(sizeof(struct tawon_watch) == 56, "tawon_watch");
_Static_assert(sizeof(struct tawon_exec) == 136, "tawon_exec");
_Static_assert(sizeof(struct tawon_task) == 16, "tawon_task");
_Static_assert(sizeof(struct tawon_flow) == 200, "tawon_flow");
_Static_assert(sizeof(struct tawon_claim) == 64, "tawon_claim");
_Static_assert(sizeof(struct tawon_peer_key) == 32, "tawon_peer_key");
_Static_assert(sizeof(struct tawon_peer) == 48, "tawon_peer");
