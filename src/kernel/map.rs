//! Reading maps without allocating: what libbpf-rs gives is a vector per look-up.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{MapCore, MapHandle};

use super::abi::Plain;

/// The value of a key, copied. None where there is none.
///
/// # Panics
/// Where the map's values are of another size than `V`: a mistake in the program.
pub fn lookup<V: Plain>(map: &MapHandle, key: &[u8]) -> Option<V> {
    assert!(map.key_size() as usize == key.len() && map.value_size() as usize == size_of::<V>());
    let mut value = V::default();
    // SAFETY: key and value are of the map's sizes, and any bytes are a V.
    let error = unsafe {
        libbpf_sys::bpf_map_lookup_elem(map.as_fd().as_raw_fd(), key.as_ptr().cast(), (&raw mut value).cast())
    };
    (error == 0).then_some(value)
}

/// The first value of a per-CPU array of u64s into `values`, one CPU after the other. Its length is
/// the map's value size times the number of possible CPUs.
pub fn per_cpu(map: &MapHandle, values: &mut [u64]) -> io::Result<()> {
    let (_, length) = per_cpu_length(map)?;
    if values.len() != length {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let key = 0u32;
    debug_assert_eq!(map.key_size(), 4);
    // SAFETY: the kernel writes the value size, a multiple of 8, for each possible CPU: checked above.
    let error = unsafe {
        libbpf_sys::bpf_map_lookup_elem(map.as_fd().as_raw_fd(), (&raw const key).cast(), values.as_mut_ptr().cast())
    };
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-error)) }
}

/// u64s of one CPU, and of all.
pub fn per_cpu_length(map: &MapHandle) -> io::Result<(usize, usize)> {
    let of_one = (map.value_size() as usize).div_ceil(8);
    let cpus = libbpf_rs::num_possible_cpus().map_err(io::Error::other)?;
    Ok((of_one, of_one * cpus))
}
