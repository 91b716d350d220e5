//! Workloads of processes with several threads.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::support::syscalls;
use crate::work::{hold_still, rename, wait};

/// A thread that is not the first execs: the others end, and the process goes on under its old pid. Says the other
/// thread, then the one that execs.
pub fn thread_execs(program: &str) {
    wait();
    let program = program.to_owned();
    let (say, said) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        say.send(syscalls::tid()).expect("it listens");
        hold_still()
    });
    println!("{}", said.recv().expect("it speaks"));
    let thread = std::thread::spawn(move || {
        println!("{}", syscalls::tid());
        panic!("{}", Command::new(program).arg0("true").arg("from-a-thread").exec());
    });
    let _ = thread.join();
}

/// The first thread ends half a second before the process does.
pub fn leader_leaves() {
    wait();
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(500));
        syscalls::exit_group(7);
    });
    syscalls::exit_thread();
}

pub fn threads(times: usize) {
    wait();
    for _ in 0..times {
        // Joined, it still is on its way out.
        let thread = std::thread::spawn(|| println!("{}", syscalls::tid()));
        thread.join().expect("it ends");
    }
}

/// So many children with threads, all of which end at about the same time. Says each child.
pub fn ends_of_threads(how: &str, times: usize) {
    wait();
    for _ in 0..times {
        let child = syscalls::fork().expect("forks");
        if child == 0 {
            match how {
                "apart" => end_apart(),
                "left" => end_with(7, || {
                    std::thread::spawn(|| {
                        until_the_first_has_left();
                        syscalls::exit_group(0)
                    });
                    syscalls::exit_thread()
                }),
                "exit" => end_with(7, || syscalls::exit_group(0)),
                "kill" => end_with(7, || {
                    syscalls::kill(std::process::id(), libc::SIGKILL).expect("it is there");
                    hold_still()
                }),
                other => panic!("unknown end: {other}"),
            }
        }
        println!("{child}");
        syscalls::wait_for(child).expect("it ends");
    }
}

/// Two threads, each of which ends by itself at the moment when the other does.
fn end_apart() -> ! {
    static READY: AtomicU32 = AtomicU32::new(0);
    let together = || {
        READY.fetch_add(1, Ordering::SeqCst);
        while READY.load(Ordering::SeqCst) < 2 {
            std::hint::spin_loop();
        }
        syscalls::exit_thread()
    };
    std::thread::spawn(together);
    together()
}

/// The first of so many more threads ends all.
fn end_with(threads: usize, end: fn() -> !) -> ! {
    for _ in 0..threads {
        std::thread::spawn(hold_still);
    }
    end()
}

/// So many children, each of which has 23 threads more, of which one execs a program: while the first is there, or behind
/// its end. Says each child.
pub fn execs_of_threads(how: &str, times: usize, program: &str) {
    wait();
    for _ in 0..times {
        let child = syscalls::fork().expect("forks");
        if child == 0 {
            let (left, program) = (how == "left", program.to_owned());
            let (go, gone) = std::sync::mpsc::channel();
            let execs = move || {
                gone.recv().expect("it speaks");
                if left {
                    until_the_first_has_left();
                }
                panic!("{}", Command::new(&program).arg0("true").exec())
            };
            (0..11).for_each(|_| drop(std::thread::spawn(hold_still)));
            std::thread::spawn(execs);
            (0..11).for_each(|_| drop(std::thread::spawn(hold_still)));
            go.send(()).expect("it listens");
            match left {
                true => syscalls::exit_thread(),
                false => hold_still(),
            }
        }
        println!("{child}");
        syscalls::wait_for(child).expect("it ends");
    }
}

fn until_the_first_has_left() {
    let state = format!("/proc/self/task/{}/stat", std::process::id());
    while !std::fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") Z ")) {
        std::thread::yield_now();
    }
}

/// So many threads that are there while the process takes another name, and end then. Says them.
pub fn rename_with_threads(threads: usize, name: &str) {
    wait();
    let (say, said) = std::sync::mpsc::channel();
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let (say, (end, ended)) = (say.clone(), std::sync::mpsc::channel::<()>());
            let thread = std::thread::spawn(move || {
                say.send(syscalls::tid()).expect("it listens");
                ended.recv().expect("it speaks");
            });
            println!("{}", said.recv().expect("it speaks"));
            (thread, end)
        })
        .collect();
    rename(name);
    for (thread, end) in threads {
        end.send(()).expect("it listens");
        thread.join().expect("it ends");
    }
}
