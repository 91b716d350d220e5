//! Time per header of the HPACK decoder on tests/data/hpack, beside libnghttp2's on the same blocks in
//! the same run. Without libnghttp2.so.14 only our own time is printed.

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::time::{Duration, Instant};

use tawon::decode::hpack::{Decoder, Field, Scratch, Visitor};

#[path = "../tests/support/stories.rs"]
mod stories;

use stories::Story;

fn main() {
    let peer = Nghttp2::load();
    if peer.is_none() {
        println!("libnghttp2.so.14 is not there: no ratio");
    }
    println!("{:<28}{:>9}{:>14}{:>14}{:>8}", "set", "headers", "tawon ns/hdr", "nghttp2", "ratio");
    for set in stories::SETS {
        let stories = stories::read(set);
        let headers: usize = stories.iter().flat_map(|story| &story.cases).map(|case| case.headers.len()).sum();
        let (mut ours, mut theirs) = (Duration::MAX, Duration::MAX);
        // In turns, the best of each: what else runs on the machine hits both alike.
        for _ in 0..ROUNDS {
            ours = ours.min(time(|| decode(&stories)));
            if let Some(peer) = &peer {
                theirs = theirs.min(time(|| peer.decode(&stories)));
            }
        }
        let per = |time: Duration| time.as_nanos() as f64 / headers as f64;
        match peer {
            Some(_) => println!(
                "{set:<28}{headers:>9}{:>14.1}{:>14.1}{:>8.2}",
                per(ours),
                per(theirs),
                ours.as_secs_f64() / theirs.as_secs_f64()
            ),
            None => println!("{set:<28}{headers:>9}{:>14.1}", per(ours)),
        }
    }
}

const ROUNDS: u32 = 30;

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

struct Count(usize);

impl Visitor for Count {
    fn field(&mut self, field: Field<'_>) {
        self.0 += field.name.map_or(0, <[u8]>::len) + field.value.map_or(0, <[u8]>::len);
    }
}

fn decode(stories: &[Story]) {
    let (mut scratch, mut count) = (Scratch::default(), Count(0));
    for story in stories {
        let mut decoder = Decoder::new();
        for case in &story.cases {
            decoder.decode(&case.wire, &mut scratch, &mut count).unwrap();
        }
    }
    black_box(count.0);
}

/// nghttp2_nv.
#[repr(C)]
struct Pair {
    name: *const u8,
    value: *const u8,
    name_length: usize,
    value_length: usize,
    flags: u8,
}

/// The functions of libnghttp2 that decode header blocks.
struct Nghttp2 {
    new: unsafe extern "C" fn(*mut *mut c_void) -> c_int,
    del: unsafe extern "C" fn(*mut c_void),
    change: unsafe extern "C" fn(*mut c_void, usize) -> c_int,
    inflate: unsafe extern "C" fn(*mut c_void, *mut Pair, *mut c_int, *const u8, usize, c_int) -> isize,
    end: unsafe extern "C" fn(*mut c_void) -> c_int,
}

const FINAL: c_int = 1;
const EMIT: c_int = 2;

impl Nghttp2 {
    fn load() -> Option<Nghttp2> {
        // SAFETY: the library's constructors have no requirements, and the types are those of
        // nghttp2/nghttp2.h.
        unsafe {
            let library = libc::dlopen(c"libnghttp2.so.14".as_ptr(), libc::RTLD_NOW);
            let symbol = |name: &std::ffi::CStr| libc::dlsym(library, name.as_ptr());
            let all = [
                symbol(c"nghttp2_hd_inflate_new"),
                symbol(c"nghttp2_hd_inflate_del"),
                symbol(c"nghttp2_hd_inflate_change_table_size"),
                symbol(c"nghttp2_hd_inflate_hd2"),
                symbol(c"nghttp2_hd_inflate_end_headers"),
            ];
            if library.is_null() || all.iter().any(|symbol| symbol.is_null()) {
                return None;
            }
            Some(Nghttp2 {
                new: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut *mut c_void) -> c_int>(all[0]),
                del: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(all[1]),
                change: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, usize) -> c_int>(all[2]),
                inflate: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut c_void, *mut Pair, *mut c_int, *const u8, usize, c_int) -> isize,
                >(all[3]),
                end: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> c_int>(all[4]),
            })
        }
    }

    fn decode(&self, stories: &[Story]) {
        let mut count = 0;
        for story in stories {
            let mut inflater = std::ptr::null_mut();
            // SAFETY: calls as nghttp2.h documents them, on an inflater that lives until `del`.
            unsafe {
                assert_eq!((self.new)(&mut inflater), 0);
                for case in &story.cases {
                    if let Some(size) = case.header_table_size {
                        (self.change)(inflater, size as usize);
                    }
                    let mut rest = &case.wire[..];
                    loop {
                        let mut pair = std::mem::zeroed::<Pair>();
                        let mut flags = 0;
                        let read = (self.inflate)(inflater, &mut pair, &mut flags, rest.as_ptr(), rest.len(), 1);
                        rest = &rest[usize::try_from(read).expect("a block of the stories decodes")..];
                        if flags & EMIT != 0 {
                            count += pair.name_length + pair.value_length;
                        }
                        if flags & FINAL != 0 {
                            (self.end)(inflater);
                            break;
                        }
                    }
                }
                (self.del)(inflater);
            }
        }
        black_box(count);
    }
}
