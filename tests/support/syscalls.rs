//! System calls that std does not offer, for workloads.

use std::io;
use std::mem::{size_of, size_of_val, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// 0 in the child, its pid in the parent.
pub fn fork() -> io::Result<i32> {
    // SAFETY: workloads fork while they have one thread, and the child goes on as a process of its own.
    checked(unsafe { libc::fork() })
}

/// Ends this process at once, without what std does at its end.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Ends this process, whatever thread calls it.
pub fn exit_group(code: i32) -> ! {
    exit_now(code)
}

/// Ends this thread and leaves the others running, as a leader that exits first does.
pub fn exit_thread() -> ! {
    // SAFETY: exit takes a number and does not return.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    unreachable!("exit returned")
}

pub fn tid() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Waits for a child; its status as wait(2) gives it.
pub fn wait_for(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: writes one int.
    checked(unsafe { libc::waitpid(pid, &mut status, 0) })?;
    Ok(status)
}

pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    checked(unsafe { libc::kill(pid as i32, signal) }).map(drop)
}

/// Moves this process into a network namespace of its own.
pub fn own_network() -> io::Result<()> {
    // SAFETY: takes a number only.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// A stream socket of a protocol such as IPPROTO_MPTCP.
pub fn stream_socket(protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: makes a descriptor or fails.
    let fd = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, protocol) })?;
    // SAFETY: the call has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// connect(2) with AF_UNSPEC: ends the connection with a reset, and keeps the socket.
pub fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeros is a sockaddr with AF_UNSPEC.
    let none: libc::sockaddr = unsafe { zeroed() };
    // SAFETY: reads one sockaddr.
    checked(unsafe { libc::connect(socket.as_raw_fd(), &none, size_of_val(&none) as u32) }).map(drop)
}

/// Sends one byte with a descriptor over a unix socket.
pub fn send_descriptor(over: BorrowedFd<'_>, fd: RawFd) -> io::Result<()> {
    with_message(|message, header| {
        // SAFETY: the header has room for one descriptor behind it.
        unsafe { libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd) };
        // SAFETY: the message's parts outlive the call.
        unsafe { libc::sendmsg(over.as_raw_fd(), message, 0) as i32 }
    })
}

/// Receives one byte with a descriptor over a unix socket.
pub fn receive_descriptor(over: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut fd = -1;
    with_message(|message, header| {
        // SAFETY: the message's parts outlive the call.
        let received = unsafe { libc::recvmsg(over.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) };
        if received == 1 {
            // SAFETY: the kernel has put a descriptor behind the header.
            fd = unsafe { libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned() };
        }
        received as i32
    })?;
    // SAFETY: the call has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn with_message(act: impl FnOnce(*mut libc::msghdr, *mut libc::cmsghdr) -> i32) -> io::Result<()> {
    let (mut byte, mut control) = ([0u8], [0u64; 8]);
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zeros is a msghdr.
    let mut message: libc::msghdr = unsafe { zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&mut part, 1);
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: reckons sizes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    // SAFETY: the control buffer is large enough for a header, which this fills.
    let header = unsafe {
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
        header
    };
    checked(act(&mut message, header)).map(drop)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
