// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* exec: the life of processes and threads. Also keeps the watch map true: an entry per process, copied
 * from the parent at fork, pending from exec until user space has decided, deleted with the last thread. */
#include "lib/again.bpf.h"
#include "lib/process.bpf.h"
#include <tawon/exec.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Error numbers; src/agent/plans.rs names them. */
#define ERROR_FORK_OUTPUT 0
#define ERROR_EXEC_OUTPUT 1
#define ERROR_EXIT_OUTPUT 2
#define ERROR_RENAME_OUTPUT 3
#define ERROR_FORK_WATCH_FULL 4
#define ERROR_EXEC_WATCH_FULL 5
#define ERROR_EXEC_ARGS_READ 6
#define ERROR_EXEC_SCRATCH 7
#define ERROR_FORK_WATCH_REFUSED 8
#define ERROR_EXEC_WATCH_REFUSED 9
#define ERROR_TASKS_WATCH_FULL 10
#define ERROR_TASKS_WATCH_REFUSED 11
#define ERROR_EXIT_WATCH_REFUSED 12
#define ERROR_EXEC_PATH_CUT 13

/* Programs that have a copy, which only kernels since 7.0 need; src/agent/plans.rs names them. */
#define COPIED_NEWTASK 0
#define COPIED_SCHED_EXEC 1
#define COPIED_SCHED_EXIT 2
#define COPIED_RENAME 3

/* Directories and mounts that a path is followed through. */
#define PATH_STEPS 128

struct scratch {
	volatile __u64 at; /* where put_path and put_cgroup have got to */
	volatile __u64 whole; /* put_path has come to the root */
	struct tawon_exec exec;
	__u8 data[TAWON_EXEC_DATA];
};

/* Only exec uses it, the program the first and its copy the second: the kernel runs each once per CPU at a time. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline void describe(struct tawon_exec *exec, struct task_struct *task, __u16 kind)
{
	exec->header.time = bpf_ktime_get_ns();
	exec->header.kind = kind;
	exec->start = process_start(task);
	exec->thread_start = kind == TAWON_EXEC_EXEC ? 0 : BPF_CORE_READ(task, start_boottime);
	exec->tgid = BPF_CORE_READ(task, tgid);
	exec->tid = BPF_CORE_READ(task, pid);
	exec->ppid = BPF_CORE_READ(task, real_parent, tgid);
	exec->uid = BPF_CORE_READ(task, cred, uid.val);
	exec->gid = BPF_CORE_READ(task, cred, gid.val);
	bpf_core_read(exec->comm, sizeof(exec->comm), &task->comm);
}

static __always_inline void describe_rights(struct tawon_exec *exec, struct task_struct *task)
{
	const struct cred *cred = BPF_CORE_READ(task, cred);
	struct nsproxy *proxy = BPF_CORE_READ(task, nsproxy);

	exec->caps_effective = CAPABILITIES(cred->cap_effective);
	exec->caps_permitted = CAPABILITIES(cred->cap_permitted);
	exec->ns_user = BPF_CORE_READ(cred, user_ns, ns.inum);
	exec->ns_pid = BPF_CORE_READ(proxy, pid_ns_for_children, ns.inum);
	exec->ns_net = BPF_CORE_READ(proxy, net_ns, ns.inum);
	exec->ns_mnt = BPF_CORE_READ(proxy, mnt_ns, ns.inum);
	exec->ns_uts = BPF_CORE_READ(proxy, uts_ns, ns.inum);
	exec->ns_ipc = BPF_CORE_READ(proxy, ipc_ns, ns.inum);
	exec->ns_cgroup = BPF_CORE_READ(proxy, cgroup_ns, ns.inum);
}

static __always_inline void watch_mask(struct tawon_exec *exec, struct tawon_watch *watch)
{
	exec->header.mask = watch->flags & TAWON_F_PENDING ? ~0ULL : watch->mask[TAWON_EXEC];
	exec->header.flags = watch->flags & TAWON_F_PENDING;
}

/* task_newtask, since 3.8: at the end of copy_process, before the child can run, for processes, threads
 * and io_uring's workers alike; sched_process_fork misses the last. */
static __always_inline int newtask(void *ctx, struct task_struct *child)
{
	struct tawon_exec exec = {};
	struct tawon_watch *watch, copy = {};
	__u32 zero = 0, parent = bpf_get_current_pid_tgid() >> 32;
	int error;

	if (BPF_CORE_READ(child, flags) & PF_KTHREAD)
		return 0;
	exec.tgid = BPF_CORE_READ(child, tgid);
	if (exec.tgid == tawon_config.agent)
		return 0;
	if (exec.tgid != (__u32)BPF_CORE_READ(child, pid)) {
		if (!tawon_live.threads)
			return 0;
		describe(&exec, child, TAWON_EXEC_THREAD);
		exec.header.size = sizeof(exec);
		exec.header.mask = tawon_wanted(TAWON_EXEC, exec.tgid, exec.start, &exec.header.flags);
		if (exec.header.mask)
			tawon_emit(ctx, &exec.header, sizeof(exec), ERROR_FORK_OUTPUT);
		return 0;
	}
	describe(&exec, child, TAWON_EXEC_FORK);
	exec.header.size = sizeof(exec);
	describe_rights(&exec, child);
	watch = bpf_map_lookup_elem(&tawon_watched, &parent);
	if (!watch)
		watch = bpf_map_lookup_elem(&tawon_default, &zero);
	if (watch) {
		copy = *watch;
		copy.start = exec.start;
		copy.execs = 0;
		copy.flags &= TAWON_F_PENDING;
		watch_mask(&exec, &copy);
		error = bpf_map_update_elem(&tawon_watched, &exec.tgid, &copy, BPF_ANY);
		if (error)
			tawon_not_taken(error, ERROR_FORK_WATCH_FULL, ERROR_FORK_WATCH_REFUSED);
	}
	tawon_emit(ctx, &exec.header, sizeof(exec), ERROR_FORK_OUTPUT);
	return 0;
}

SEC("tp_btf/task_newtask")
int BPF_PROG(tawon_newtask, struct task_struct *child, __u64 clone_flags)
{
	tawon_runs(ctx, COPIED_NEWTASK);
	return newtask(ctx, child);
}

SEC("tp_btf/task_newtask")
int BPF_PROG(tawon_newtask_again, struct task_struct *child, __u64 clone_flags)
{
	return tawon_left_out(ctx, COPIED_NEWTASK, 0) ? newtask(ctx, child) : 0;
}

/* Components of a path, innermost first, each ended by a zero byte, behind `at`; returns where they
 * end. Goes up to the process's root or, where it is outside of that, to the top of the mounts, and puts a
 * slash there; stops below it after so many steps or at `limit`, which is counted. How far the loop has got
 * is kept in memory: in a register it would differ on every way through the loop, and before 6.4 the
 * verifier follows each of them beyond its million instructions. */
static __noinline __u64 put_path(struct scratch *to, __u64 at, const struct path *path, struct fs_struct *fs)
{
	struct dentry *dentry = BPF_CORE_READ(path, dentry), *root = BPF_CORE_READ(fs, root.dentry);
	struct vfsmount *vfs = BPF_CORE_READ(path, mnt), *root_vfs = BPF_CORE_READ(fs, root.mnt);
	__u64 limit = at + TAWON_EXE_MAX - 256 - 2;
	int step;

	to->at = at;
	to->whole = 0;
	for (step = 0; step < PATH_STEPS; step++) {
		struct mount *mount = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
		struct dentry *parent;
		long len;

		if (!dentry || !vfs)
			break;
		if (dentry == root && vfs == root_vfs) {
			to->whole = 1;
			break;
		}
		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == BPF_CORE_READ(vfs, mnt_root)) {
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above != mount) {
				dentry = BPF_CORE_READ(mount, mnt_mountpoint);
				vfs = (void *)above + bpf_core_field_offset(struct mount, mnt);
				continue;
			}
			/* An anonymous file (memfd) is the root of its own mount and has a name. */
			if (step) {
				to->whole = 1;
				break;
			}
		}
		at = to->at;
		barrier_var(at);
		if (at > limit || at > TAWON_EXEC_DATA - 256)
			break;
		len = bpf_probe_read_kernel_str(to->data + at, 256, BPF_CORE_READ(dentry, d_name.name));
		if (len <= 0 || len > 256)
			break;
		to->at = at + len;
		if (parent == dentry) {
			to->whole = 1;
			break;
		}
		dentry = parent;
	}
	at = to->at;
	barrier_var(at);
	if (!to->whole || at > TAWON_EXEC_DATA - 256) {
		tawon_count(TAWON_COUNT_ERROR + ERROR_EXEC_PATH_CUT);
		return at;
	}
	to->data[at] = '/';
	to->data[at + 1] = 0;
	return at + 2;
}

static __noinline __u64 put_cgroup(struct scratch *to, __u64 at, struct task_struct *task)
{
	struct kernfs_node *node = container_cgroup(task);
	__u64 limit = at + TAWON_CGROUP_MAX - 256;
	int step;

	to->at = at;
	for (step = 0; step < 8; step++) {
		struct kernfs_node *parent;
		long len;

		if (!node)
			break;
		parent = kernfs_parent(node);
		at = to->at;
		barrier_var(at);
		if (!parent || at > limit || at > TAWON_EXEC_DATA - 256)
			break;
		len = bpf_probe_read_kernel_str(to->data + at, 256, BPF_CORE_READ(node, name));
		if (len <= 0 || len > 256)
			break;
		to->at = at + len;
		node = parent;
	}
	return to->at;
}

/* sched_process_exec, since 3.4: behind the point of no return, in the context of the task, with its new
 * memory. A hook on the syscall would miss the kernel's own calls and see those that fail. */
static __always_inline int sched_exec(void *ctx, struct task_struct *task, pid_t old_pid, __u32 room)
{
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	struct tawon_watch *watch, *fallback, fresh = {};
	struct scratch *to;
	struct file *exe;
	__u32 zero = 0, tgid = BPF_CORE_READ(task, tgid);
	__u64 at, end, args, args_end;
	int error;

	if (tgid == tawon_config.agent)
		return 0;
	to = bpf_map_lookup_elem(&scratch, &room);
	fallback = bpf_map_lookup_elem(&tawon_default, &zero);
	if (!to || !fallback) {
		tawon_count(TAWON_COUNT_ERROR + ERROR_EXEC_SCRATCH);
		return 0;
	}
	describe(&to->exec, task, TAWON_EXEC_EXEC);
	describe_rights(&to->exec, task);
	to->exec.tid = old_pid;
	to->exec.status = 0;

	watch = bpf_map_lookup_elem(&tawon_watched, &tgid);
	if (watch && watch->start == to->exec.start) {
		if (fallback->flags & TAWON_F_CONDITIONS)
			watch->flags |= TAWON_F_PENDING;
		watch->execs++;
		watch_mask(&to->exec, watch);
	} else {
		/* A helper that the kernel started: it was a kernel thread until now. */
		fresh = *fallback;
		fresh.start = to->exec.start;
		fresh.flags = fallback->flags & TAWON_F_CONDITIONS ? TAWON_F_PENDING : 0;
		fresh.execs = 1;
		watch_mask(&to->exec, &fresh);
		error = bpf_map_update_elem(&tawon_watched, &tgid, &fresh, BPF_ANY);
		if (error)
			tawon_not_taken(error, ERROR_EXEC_WATCH_FULL, ERROR_EXEC_WATCH_REFUSED);
	}

	exe = BPF_CORE_READ(mm, exe_file);
	at = exe ? put_path(to, 0, &exe->f_path, fs) : 0;
	to->exec.exe_len = at;
	end = put_path(to, at, &fs->pwd, fs);
	to->exec.cwd_len = end - at;
	at = put_cgroup(to, end, task);
	to->exec.cgroup_len = at - end;

	args = BPF_CORE_READ(mm, arg_start);
	args_end = BPF_CORE_READ(mm, arg_end);
	to->exec.args_size = args_end - args;
	to->exec.args_len = 0;
	if (at > TAWON_EXEC_DATA - TAWON_ARGS_MAX - 1)
		at = TAWON_EXEC_DATA - TAWON_ARGS_MAX - 1;
	if (args_end > args) {
		__u64 len = args_end - args > TAWON_ARGS_MAX ? TAWON_ARGS_MAX : args_end - args;

		barrier_var(len);
		if (len > TAWON_ARGS_MAX)
			len = TAWON_ARGS_MAX;
		if (bpf_probe_read_user(to->data + at, len, (void *)args))
			tawon_count(TAWON_COUNT_ERROR + ERROR_EXEC_ARGS_READ);
		else
			to->exec.args_len = len;
	}
	at += to->exec.args_len;
	barrier_var(at);
	if (at > TAWON_EXEC_DATA)
		at = TAWON_EXEC_DATA;
	to->exec.header.size = sizeof(to->exec) + at;
	tawon_emit(ctx, &to->exec.header, sizeof(to->exec) + at, ERROR_EXEC_OUTPUT);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(tawon_sched_exec, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	tawon_runs(ctx, COPIED_SCHED_EXEC);
	return sched_exec(ctx, task, old_pid, 0);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(tawon_sched_exec_again, struct task_struct *task, pid_t old_pid, struct linux_binprm *bprm)
{
	return tawon_left_out(ctx, COPIED_SCHED_EXEC, 0) ? sched_exec(ctx, task, old_pid, 1) : 0;
}

/* sched_process_exit, since 2.6.23: signal->live has been counted down already, so the thread that sees
 * 0 is among the last; whoever deletes the entry reports the end. */
static __always_inline int sched_exit(void *ctx, struct task_struct *task)
{
	struct tawon_exec exec = {};
	struct tawon_watch *watch;
	__u32 tgid = BPF_CORE_READ(task, tgid);
	int live, error;

	if (BPF_CORE_READ(task, flags) & PF_KTHREAD || tgid == tawon_config.agent)
		return 0;
	live = BPF_CORE_READ(task, signal, live.counter);
	/* Not of the first thread, whose start and end are told as the process's, which may go on without it. */
	if (tawon_live.threads && tgid != (__u32)BPF_CORE_READ(task, pid)) {
		describe(&exec, task, TAWON_EXEC_THREAD_EXIT);
		exec.header.size = sizeof(exec);
		exec.status = BPF_CORE_READ(task, exit_code);
		exec.header.mask = tawon_wanted(TAWON_EXEC, tgid, exec.start, &exec.header.flags);
		/* Another of the last threads was faster with the end, perhaps since `live` was read: who wanted this
		 * process user space knows. */
		if (!exec.header.mask && !bpf_map_lookup_elem(&tawon_watched, &tgid))
			exec.header.mask = ~0ULL;
		if (exec.header.mask)
			tawon_emit(ctx, &exec.header, sizeof(exec), ERROR_EXIT_OUTPUT);
	}
	if (live)
		return 0;
	watch = bpf_map_lookup_elem(&tawon_watched, &tgid);
	if (!watch)
		return 0;
	describe(&exec, task, TAWON_EXEC_EXIT);
	watch_mask(&exec, watch);
	/* Counted down when a thread is taken out of the process, behind this hook. */
	if (BPF_CORE_READ(task, signal, nr_threads) > 1)
		exec.header.flags |= TAWON_F_THREADS;
	error = bpf_map_delete_elem(&tawon_watched, &tgid);
	if (error) {
		/* Another thread was faster. For any other reason the end is told by nobody. */
		if (error != -ENOENT)
			tawon_count(TAWON_COUNT_ERROR + ERROR_EXIT_WATCH_REFUSED);
		return 0;
	}
	exec.header.size = sizeof(exec);
	/* As wait_task_zombie() reckons the status. */
	if (BPF_CORE_READ(task, signal, flags) & SIGNAL_GROUP_EXIT)
		exec.status = BPF_CORE_READ(task, signal, group_exit_code);
	else
		exec.status = BPF_CORE_READ(task, group_leader, exit_code);
	tawon_emit(ctx, &exec.header, sizeof(exec), ERROR_EXIT_OUTPUT);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tawon_sched_exit, struct task_struct *task)
{
	tawon_runs(ctx, COPIED_SCHED_EXIT);
	return sched_exit(ctx, task);
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tawon_sched_exit_again, struct task_struct *task)
{
	return tawon_left_out(ctx, COPIED_SCHED_EXIT, 1) ? sched_exit(ctx, task) : 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tawon_sched_exit_third, struct task_struct *task)
{
	return tawon_left_out(ctx, COPIED_SCHED_EXIT, 1) ? sched_exit(ctx, task) : 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(tawon_sched_exit_fourth, struct task_struct *task)
{
	return tawon_left_out(ctx, COPIED_SCHED_EXIT, 0) ? sched_exit(ctx, task) : 0;
}

/* task_rename, since 3.8. Exec's own rename is left out: the exec record brings the name. */
static __always_inline int renamed(void *ctx, struct task_struct *task, const char *comm)
{
	struct tawon_exec exec = {};
	__u32 tgid = BPF_CORE_READ(task, tgid);

	if (tgid != (__u32)BPF_CORE_READ(task, pid) || tgid == tawon_config.agent || BPF_CORE_READ(task, flags) & PF_KTHREAD)
		return 0;
	if (BPF_CORE_READ_BITFIELD_PROBED(task, in_execve))
		return 0;
	describe(&exec, task, TAWON_EXEC_RENAME);
	exec.header.size = sizeof(exec);
	exec.header.mask = ~0ULL;
	bpf_probe_read_kernel_str(exec.comm, sizeof(exec.comm), comm);
	tawon_emit(ctx, &exec.header, sizeof(exec), ERROR_RENAME_OUTPUT);
	return 0;
}

SEC("tp_btf/task_rename")
int BPF_PROG(tawon_rename, struct task_struct *task, const char *comm)
{
	tawon_runs(ctx, COPIED_RENAME);
	return renamed(ctx, task, comm);
}

SEC("tp_btf/task_rename")
int BPF_PROG(tawon_rename_again, struct task_struct *task, const char *comm)
{
	return tawon_left_out(ctx, COPIED_RENAME, 0) ? renamed(ctx, task, comm) : 0;
}

/* Every process that is there already: gives it an entry, and tells user space which they are. */
SEC("iter/task")
int tawon_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct tawon_watch *fallback, fresh = {};
	struct tawon_task told = {};
	__u32 zero = 0;
	int error;

	if (!task)
		return 0;
	told.tgid = BPF_CORE_READ(task, tgid);
	if (BPF_CORE_READ(task, flags) & PF_KTHREAD || told.tgid != (__u32)BPF_CORE_READ(task, pid) || told.tgid == tawon_config.agent)
		return 0;
	/* A zombie has had its exit. */
	if (!BPF_CORE_READ(task, signal, live.counter))
		return 0;
	told.start = process_start(task);
	fallback = bpf_map_lookup_elem(&tawon_default, &zero);
	if (fallback) {
		fresh = *fallback;
		fresh.start = told.start;
		fresh.flags = fallback->flags & TAWON_F_CONDITIONS ? TAWON_F_PENDING : 0;
		error = bpf_map_update_elem(&tawon_watched, &told.tgid, &fresh, BPF_NOEXIST);
		told.inserted = !error;
		/* One that began meanwhile has an entry. */
		if (error && error != -EEXIST)
			tawon_not_taken(error, ERROR_TASKS_WATCH_FULL, ERROR_TASKS_WATCH_REFUSED);
	}
	bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
	return 0;
}
