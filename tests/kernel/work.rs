//! Workloads: what a worker process does. Each says on standard output what it did, one line of numbers
//! per thing, and waits for a line on standard input where its test has to act first.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::support::syscalls;
use crate::work_threads;

pub fn main(arguments: &[String]) {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["spawn", program, times] => spawn(program, number(times)),
        ["exit", code] => std::process::exit(number(code) as i32),
        ["abort"] => std::process::abort(),
        ["sleep-until-killed"] => hold(),
        ["wait"] => wait(),
        ["forks", times] => forks(number(times)),
        ["family", size] => family(number(size)),
        ["thread-execs", program] => work_threads::thread_execs(program),
        ["execs-below", name, directories @ ..] => execs_below(name, directories),
        ["chroot-execs", root, name] => chroot_execs(root, name),
        ["leader-leaves"] => work_threads::leader_leaves(),
        ["threads", times] => work_threads::threads(number(times)),
        ["ends-of-threads", how, times] => work_threads::ends_of_threads(how, number(times)),
        ["execs-of-threads", how, times, program] => work_threads::execs_of_threads(how, number(times), program),
        ["rename-with-threads", threads, name] => work_threads::rename_with_threads(number(threads), name),
        ["rename", name] => rename(name),
        ["serve", at, times, bytes] => serve(at, number(times), number(bytes)),
        ["connect", at, times, bytes] => connect(at, number(times), number(bytes)),
        ["read-to-end", at, times] => read_to_end(at, number(times)),
        ["refused", times] => refused(number(times)),
        ["reset", how, at, times] => reset(how, at, number(times)),
        ["accept-and-pass", how] => accept_and_pass(how),
        ["never-accept"] => never_accept(),
        ["connect-and-hold", at, times] => connect_and_hold(at, number(times)),
        ["time-out"] => time_out(),
        ["udp-serve", at, times] => udp_serve(at, number(times)),
        ["udp-send", at, times] => udp_send(at, number(times)),
        ["mptcp", times] => mptcp(number(times)),
        ["ping-pong", at, pause] => ping_pong(at, number(pause)),
        other => panic!("unknown work: {other:?}"),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

pub fn wait() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("the test speaks");
}

fn hold() {
    println!("0");
    hold_still()
}

pub fn hold_still() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn spawn(program: &str, times: usize) {
    wait();
    for turn in 0..times {
        // The name is the last part of the path; the program wants to be called `true`.
        let status = Command::new(program).arg0("true").arg(turn.to_string()).status().expect("it starts");
        assert!(status.success());
    }
}

fn forks(times: usize) {
    wait();
    for turn in 0..times {
        match syscalls::fork().expect("forks") {
            0 => syscalls::exit_now(turn as i32),
            child => {
                println!("{child}");
                syscalls::wait_for(child).expect("it ends");
            }
        }
    }
}

/// So many children, which live until it is told to end.
fn family(size: usize) {
    let children: Vec<_> = (0..size)
        .map(|_| match syscalls::fork().expect("forks") {
            0 => {
                // Not for ever, should its parent come to nothing.
                std::thread::sleep(Duration::from_secs(600));
                syscalls::exit_now(0)
            }
            child => child,
        })
        .collect();
    println!("{}", children.len());
    wait();
    for child in children {
        syscalls::kill(child as u32, libc::SIGKILL).expect("it is there");
        syscalls::wait_for(child).expect("it ends");
    }
}

/// Execs a program of this name that lies in directories within directories, of which it makes each and goes there: no
/// system call would take the longest paths whole.
fn execs_below(name: &str, directories: &[&str]) {
    wait();
    for directory in directories {
        std::fs::create_dir(directory).expect("a directory");
        std::env::set_current_dir(directory).expect("it is there");
    }
    std::fs::copy("/bin/busybox", name).expect("a copy");
    panic!("{}", Command::new(format!("./{name}")).arg0("true").exec());
}

/// Execs a program of this name in another root.
fn chroot_execs(root: &str, name: &str) {
    wait();
    // Not by the test: what it forks meanwhile would have the file open for writing, which then cannot be exec'd.
    std::fs::copy("/bin/busybox", Path::new(root).join(name)).expect("a copy");
    std::os::unix::fs::chroot(root).expect("we are root");
    std::env::set_current_dir("/").expect("it is there");
    panic!("{}", Command::new(format!("/{name}")).arg0("true").exec());
}

pub fn rename(name: &str) {
    wait();
    std::fs::write("/proc/self/comm", name).expect("it is ours");
    println!("0");
    wait();
}

/// Accepts so many connections in threads of their own, three at a time; reads each to its end, answers
/// with so many bytes and closes. Says the port, then of each the peer's port and the thread that accepted.
fn serve(at: &str, times: usize, bytes: usize) {
    let listener = listen(at);
    println!("{}", listener.local_addr().expect("it is bound").port());
    std::thread::scope(|scope| {
        for acceptor in 0..3 {
            let (listener, share) = (&listener, times / 3 + usize::from(acceptor < times % 3));
            scope.spawn(move || {
                for _ in 0..share {
                    let (mut stream, peer) = listener.accept().expect("somebody connects");
                    println!("{} {}", peer.port(), syscalls::tid());
                    std::io::copy(&mut stream, &mut std::io::sink()).expect("reads");
                    stream.write_all(&vec![7; bytes]).expect("writes");
                }
            });
        }
    });
}

fn listen(at: &str) -> TcpListener {
    let address: SocketAddr = at.parse().expect("an address");
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP)).expect("a socket");
    socket.set_reuse_port(true).expect("SO_REUSEPORT");
    if address.is_ipv6() {
        socket.set_only_v6(false).expect("dual stack");
    }
    socket.bind(&address.into()).expect("binds");
    socket.listen(1024).expect("listens");
    socket.into()
}

/// Connects one after the other, sends so many bytes, closes that way, reads to the end. Says its own port.
fn connect(at: &str, times: usize, bytes: usize) {
    wait();
    for _ in 0..times {
        let mut stream = TcpStream::connect(at).expect("connects");
        println!("{}", stream.local_addr().expect("it is bound").port());
        stream.write_all(&vec![9; bytes]).expect("writes");
        stream.shutdown(Shutdown::Write).expect("it is open");
        std::io::copy(&mut stream, &mut std::io::sink()).expect("reads");
    }
}

/// Accepts so many connections one after the other, sends one byte, and reads until an end or an error.
fn read_to_end(at: &str, times: usize) {
    let listener = listen(at);
    println!("{}", listener.local_addr().expect("it is bound").port());
    for _ in 0..times {
        let (mut stream, _) = listener.accept().expect("somebody connects");
        let _ = stream.write_all(&[1]);
        while matches!(stream.read(&mut [0; 64]), Ok(1..)) {}
    }
}

/// Connects to a port that is taken but not listened on. Says the port.
fn refused(times: usize) {
    let taken = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    taken.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("binds");
    let port = taken.local_addr().expect("it is bound").as_socket().expect("an address").port();
    println!("{port}");
    wait();
    for _ in 0..times {
        let error = TcpStream::connect(("127.0.0.1", port)).expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

fn reset(how: &str, at: &str, times: usize) {
    wait();
    for _ in 0..times {
        let mut stream = TcpStream::connect(at).expect("connects");
        match how {
            "linger" => {
                stream.read_exact(&mut [0]).expect("the byte");
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
            }
            "unread" => {
                stream.peek(&mut [0]).expect("the byte");
            }
            "unspec" => {
                stream.read_exact(&mut [0]).expect("the byte");
                syscalls::disconnect(stream.as_fd()).expect("disconnects");
            }
            other => panic!("unknown reset: {other}"),
        }
    }
}

/// Accepts one connection and has a child use it: one that inherits it, or one that is sent it. The parent
/// closes its own at once; the child's is closed by its end. Says the port, and the child's pid.
fn accept_and_pass(how: &str) {
    let listener = listen("127.0.0.1:0");
    println!("{}", listener.local_addr().expect("it is bound").port());
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    if how == "sent" {
        let child = syscalls::fork().expect("forks");
        if child == 0 {
            use_and_exit(syscalls::receive_descriptor(theirs.as_fd()).expect("a descriptor"));
        }
        let (stream, _) = listener.accept().expect("somebody connects");
        syscalls::send_descriptor(ours.as_fd(), stream.as_raw_fd()).expect("it is sent");
        drop(stream);
        println!("{child}");
        syscalls::wait_for(child).expect("it ends");
    } else {
        let (stream, _) = listener.accept().expect("somebody connects");
        let child = syscalls::fork().expect("forks");
        if child == 0 {
            use_and_exit(stream.into());
        }
        drop(stream);
        println!("{child}");
        syscalls::wait_for(child).expect("it ends");
    }
}

fn use_and_exit(stream: OwnedFd) -> ! {
    let mut stream = TcpStream::from(stream);
    std::io::copy(&mut stream, &mut std::io::sink()).expect("reads");
    stream.write_all(&[5; 5000]).expect("writes");
    // Not closed here: the end of the process does.
    syscalls::exit_now(0)
}

/// Listens, never accepts, and closes when told to.
fn never_accept() {
    let listener = listen("127.0.0.1:0");
    println!("{}", listener.local_addr().expect("it is bound").port());
    wait();
    drop(listener);
    wait();
}

/// Connects so often, says its ports, sends 10 bytes on each line that it is told, ends at the fourth.
fn connect_and_hold(at: &str, times: usize) {
    let mut streams: Vec<TcpStream> = (0..times).map(|_| TcpStream::connect(at).expect("connects")).collect();
    for stream in &streams {
        println!("{}", stream.local_addr().expect("it is bound").port());
    }
    for _ in 0..3 {
        wait();
        streams.iter_mut().for_each(|stream| stream.write_all(&[3; 10]).expect("writes"));
        println!("0");
    }
    wait();
}

/// In a network of its own, connects to an address that swallows what it is sent. Says the errno.
fn time_out() {
    wait();
    syscalls::own_network().expect("a network namespace");
    for line in [
        "link set lo up",
        "link add swallow type dummy",
        "addr add 192.0.2.1/24 dev swallow",
        "link set swallow up",
        "neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev swallow",
    ] {
        let done = Command::new("ip").args(line.split(' ')).stderr(Stdio::null()).status();
        if !done.is_ok_and(|status| status.success()) {
            println!("cannot: ip {line}");
            return;
        }
    }
    std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1").expect("it is ours");
    let error = TcpStream::connect("192.0.2.2:7").expect_err("nobody answers");
    println!("{}", error.raw_os_error().expect("a system's error"));
}

/// One socket for all peers: answers every datagram with one of twice its size. Says the port.
fn udp_serve(at: &str, times: usize) {
    let socket = UdpSocket::bind(at).expect("binds");
    println!("{}", socket.local_addr().expect("it is bound").port());
    let mut buffer = [0; 2048];
    for _ in 0..times {
        let (size, from) = socket.recv_from(&mut buffer).expect("a datagram");
        socket.send_to(&vec![2; size * 2], from).expect("sends");
    }
    wait();
}

/// So many sockets, every other one connected; each sends four datagrams (its number + 1, times the
/// datagram's number from 1 to 4, bytes) and waits for each answer. Says its port, which is another each time:
/// one that comes again makes one flow of two at the other end.
fn udp_send(at: &str, times: usize) {
    wait();
    let mut ports = HashSet::new();
    let to: SocketAddr = at.parse().expect("an address");
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    for turn in 0..times {
        let (socket, port) = loop {
            let socket = UdpSocket::bind(any).expect("binds");
            let port = socket.local_addr().expect("it is bound").port();
            if ports.insert(port) {
                break (socket, port);
            }
        };
        println!("{port}");
        if turn % 2 == 0 {
            socket.connect(to).expect("connects");
        }
        for datagram in 1..=4 {
            let bytes = vec![1; (turn + 1) * datagram];
            let sent = if turn % 2 == 0 { socket.send(&bytes) } else { socket.send_to(&bytes, to) };
            assert_eq!(sent.expect("sends"), bytes.len());
            assert_eq!(socket.recv(&mut [0; 2048]).expect("an answer"), bytes.len() * 2);
        }
    }
}

/// Both ends with IPPROTO_MPTCP; the child connects. Says the port and the child's pid.
fn mptcp(times: usize) {
    wait();
    let listener = match syscalls::stream_socket(MPTCP) {
        Ok(listener) => Socket::from(listener),
        Err(error) => return println!("cannot: {error}"),
    };
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("binds");
    listener.listen(16).expect("listens");
    let at = listener.local_addr().expect("it is bound");
    println!("{}", at.as_socket().expect("an address").port());
    let child = syscalls::fork().expect("forks");
    if child == 0 {
        for _ in 0..times {
            let socket = Socket::from(syscalls::stream_socket(MPTCP).expect("a socket"));
            socket.connect(&at).expect("connects");
            let mut stream = TcpStream::from(socket);
            stream.write_all(&[4; 40_000]).expect("writes");
            stream.shutdown(Shutdown::Write).expect("it is open");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("reads");
        }
        syscalls::exit_now(0);
    }
    println!("{child}");
    for _ in 0..times {
        let mut stream = TcpStream::from(listener.accept().expect("somebody connects").0);
        std::io::copy(&mut stream, &mut std::io::sink()).expect("reads");
        stream.write_all(&[6; 60_000]).expect("writes");
    }
    syscalls::wait_for(child).expect("it ends");
}

/// Connects and closes, with a pause of so many microseconds between, until it is told to end; says how
/// often it did.
fn ping_pong(at: &str, pause: usize) {
    let told = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stop = told.clone();
    std::thread::spawn(move || {
        wait();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let listener = listen(at);
    let at = listener.local_addr().expect("it is bound");
    println!("{}", at.port());
    let mut done = 0u64;
    while !told.load(std::sync::atomic::Ordering::Relaxed) {
        let stream = TcpStream::connect(at).expect("connects");
        let (accepted, _) = listener.accept().expect("we have connected");
        // A reset, since TIME_WAIT would use up the ports.
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(stream);
        drop(accepted);
        done += 1;
        std::thread::sleep(Duration::from_micros(pause as u64));
    }
    println!("{done}");
}

const MPTCP: i32 = 262;
