//! The machine that the other tests run on.

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

#[test]
fn the_kernel_is_the_one_asked_for() {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    println!("kernel {}", release.trim());
    if let Ok(wanted) = std::env::var("TAWON_KERNEL") {
        assert!(release.starts_with(&format!("{wanted}.")), "{release} is not {wanted}");
    }
}

#[test]
fn a_map_keeps_what_is_written_to_it() {
    let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
        ..Default::default()
    };
    let map = MapHandle::create(MapType::Hash, Some("tawon_machine"), 4, 8, 16, &options).unwrap();
    map.update(&7u32.to_ne_bytes(), &23u64.to_ne_bytes(), MapFlags::ANY).unwrap();
    assert_eq!(map.lookup(&7u32.to_ne_bytes(), MapFlags::ANY).unwrap().unwrap(), 23u64.to_ne_bytes());
    assert_eq!(map.lookup(&8u32.to_ne_bytes(), MapFlags::ANY).unwrap(), None);
}
