//! Container id and pod uid from a cgroup path: containerd, CRI-O and Docker; version 1 and 2; the
//! systemd and the cgroupfs driver.
//!
//! ```text
//! /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope
//! /kubepods/burstable/pod<uid>/<id>
//! /system.slice/docker-<id>.scope      /docker/<id>      /machine.slice/crio-<id>.scope
//! ```

/// What a cgroup path tells. The pod's uid in its usual form, with dashes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Identity {
    pub container: Option<String>,
    pub pod: Option<String>,
}

/// Reads a path component by component, outermost first. Below a container others may nest (systemd in
/// a container, `init.scope`), so the first id that is found is the container's.
pub fn identify<'a>(components: impl Iterator<Item = &'a str>) -> Identity {
    let mut found = Identity::default();
    for component in components {
        if found.container.is_some() {
            break;
        }
        if found.pod.is_none() {
            found.pod = pod_uid(component);
        }
        found.container = container_id(component);
    }
    found
}

/// `<id>`, `<runtime>-<id>.scope`, `crio-<id>`, or `<pod>:<prefix>:<id>` of CRI-O's cgroupfs driver.
fn container_id(component: &str) -> Option<String> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    // conmon is CRI-O's and Podman's monitor beside the container, not in it.
    if name.starts_with("crio-conmon-") || name.starts_with("libpod-conmon-") {
        return None;
    }
    let id = name.rsplit(['-', ':']).next()?;
    (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// `pod<uid>` or `kubepods[-<class>]-pod<uid with underscores>.slice`; also the mirror pods' 32 hex digits.
fn pod_uid(component: &str) -> Option<String> {
    let name = component.strip_suffix(".slice").unwrap_or(component);
    let uid = match name.rsplit_once("-pod") {
        Some((before, uid)) if before.starts_with("kubepods") => uid,
        _ => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let hex = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    (hex && (uid.len() == 36 || uid.len() == 32)).then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f29ce33a0c0bfe2b6d2c0f6f2a5f8a4c2f9f6f44a5b0de8fb3a9e3d7f5b6c1a";
    const UID: &str = "2c48ba0f-6c1d-4a2e-9d59-0f2f8a4d9e10";

    #[test]
    fn every_runtime_and_driver_is_told_by_its_path() {
        let under = UID.replace('-', "_");
        for path in [
            format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope"),
            format!("kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/crio-{ID}.scope"),
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/docker-{ID}.scope"),
            format!("kubepods/burstable/pod{UID}/{ID}"),
            format!("kubepods/pod{UID}/{ID}"),
            format!("kubepods/burstable/pod{UID}/crio-{ID}"),
            format!(
                "kubelet.slice/kubelet-kubepods.slice/kubepods-burstable-pod{under}.slice/cri-containerd-{ID}.scope"
            ),
            format!("system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}"),
            format!("kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{ID}.scope/init.scope/system.slice"),
        ] {
            let found = identify(path.split('/'));
            assert_eq!(found.container.as_deref(), Some(ID), "{path}");
            if !path.contains(':') {
                assert_eq!(found.pod.as_deref(), Some(UID), "{path}");
            }
        }
    }

    #[test]
    fn a_container_without_a_pod_has_no_pod() {
        for path in [
            format!("docker/{ID}"),
            format!("system.slice/docker-{ID}.scope"),
            format!("machine.slice/libpod-{ID}.scope"),
        ] {
            let found = identify(path.split('/'));
            assert_eq!((found.container.as_deref(), found.pod), (Some(ID), None), "{path}");
        }
    }

    #[test]
    fn a_static_pods_uid_has_no_dashes() {
        let path = format!("kubepods/burstable/pod8d1b2b9bd5ae6d2d3b5e1d9a1d0c7e4f/{ID}");
        assert_eq!(identify(path.split('/')).pod.as_deref(), Some("8d1b2b9bd5ae6d2d3b5e1d9a1d0c7e4f"));
    }

    #[test]
    fn what_is_no_container_is_none() {
        for path in [
            "user.slice/user-0.slice/session-3.scope".to_owned(),
            "system.slice/podman.service".to_owned(),
            "init.scope".to_owned(),
            format!("machine.slice/crio-conmon-{ID}.scope"),
            format!("{ID}0"),
            String::new(),
        ] {
            assert_eq!(identify(path.split('/')), Identity::default(), "{path}");
        }
    }
}
