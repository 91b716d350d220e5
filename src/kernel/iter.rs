//! Iterator programs: the kernel walks its own tables and writes what the program tells.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A walk that may be made at any time, from any thread: an iterator program, and the map that it walks
/// over where it walks over one.
pub struct Walk {
    pub program: OwnedFd,
    pub map: Option<OwnedFd>,
}

impl Walk {
    /// Attaches the program, reads it to its end and detaches it. Blocks.
    pub fn run(&self) -> io::Result<Vec<u8>> {
        let mut over = libbpf_sys::bpf_iter_link_info::default();
        over.map.map_fd = self.map.as_ref().map_or(0, |map| map.as_raw_fd() as u32);
        let mut options = libbpf_sys::bpf_link_create_opts {
            sz: size_of::<libbpf_sys::bpf_link_create_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        if self.map.is_some() {
            options.iter_info = &raw mut over;
            options.iter_info_len = size_of::<libbpf_sys::bpf_iter_link_info>() as u32;
        }
        // SAFETY: the options, and what they point to, outlive the call.
        let link = unsafe {
            libbpf_sys::bpf_link_create(self.program.as_raw_fd(), 0, libbpf_sys::BPF_TRACE_ITER, &raw const options)
        };
        let link = owned(link)?;
        // SAFETY: makes a descriptor of the link's, or fails.
        let mut told = File::from(owned(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) })?);
        let mut all = Vec::new();
        let mut buffer = [0; 16 * 1024];
        loop {
            match told.read(&mut buffer) {
                Ok(0) => return Ok(all),
                Ok(read) => all.extend_from_slice(&buffer[..read]),
                // A long walk gives way now and then.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the call has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
