//! The records that cross from the kernel, as the BTF of `bpf/abi.bpf.c` describes them.

#[allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks, unused, missing_docs)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/abi.skel.rs"));
}

pub use skeleton::types::{
    tawon_claim as Claim, tawon_config as Config, tawon_exec as Exec, tawon_flow as Flow, tawon_header as Header,
    tawon_live as Live, tawon_peer as Peer, tawon_peer_key as PeerKey, tawon_task as Task, tawon_watch as Watch,
};

/// The programs, compiled.
pub static EXEC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/exec.bpf.o"));
pub static FLOWS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/flows.bpf.o"));

/// A type of integers and arrays of integers without padding: any bytes of its size are one.
///
/// # Safety
/// Whoever implements it has checked that this is so.
pub unsafe trait Plain: Copy + Default {}

macro_rules! plain {
    ($($name:ident $size:literal),*) => {$(
        // SAFETY: made of integers and arrays of them; the size leaves no room for padding.
        unsafe impl Plain for $name {}
        const _: () = assert!(size_of::<$name>() == $size);
    )*};
}

plain!(Header 24, Watch 56, Exec 136, Task 16, Flow 200, Claim 64, PeerKey 32, Peer 48, Config 16, Live 12);

/// The record that `bytes` begins with. None where they are too few.
#[inline]
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the bytes are there, any bytes are a T, and samples are not aligned.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The kind of the record that `bytes` begins with; 0, which is none, where they are too few.
#[inline]
pub fn kind(bytes: &[u8]) -> u16 {
    let kind = bytes.get(std::mem::offset_of!(Header, kind)..).and_then(|bytes| bytes.first_chunk());
    kind.map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

/// The bytes of a record, to be written into a map.
pub fn bytes<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a T has no padding, so each of its bytes is initialised.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}
