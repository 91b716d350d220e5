//! Containers and pods by cgroup path, so that the processes of one share one description.

use std::collections::HashMap;
use std::sync::Arc;

use super::cgroup;
use super::{Container, Pod};

/// What is known by path; bounded, since paths come and go with containers.
#[derive(Default)]
pub struct Containers {
    by_path: HashMap<Vec<u8>, Found>,
    /// Those of the paths, by uid: the containers of one share it.
    pods: HashMap<String, Arc<Pod>>,
}

type Found = (Option<Arc<Container>>, Option<Arc<Pod>>);

impl Containers {
    /// By components as the kernel side writes them: innermost first, each ended by a zero byte.
    pub fn find(&mut self, components: &[u8]) -> Found {
        if components.is_empty() {
            return (None, None);
        }
        if let Some(found) = self.by_path.get(components) {
            return found.clone();
        }
        let outermost_first = components.strip_suffix(b"\0").unwrap_or(components).rsplit(|&byte| byte == 0);
        let identity = cgroup::identify(outermost_first.filter_map(|part| std::str::from_utf8(part).ok()));
        self.remember(components.to_vec(), identity)
    }

    /// By a path as /proc/PID/cgroup writes it.
    pub fn find_path(&mut self, path: &str) -> Found {
        let mut components = Vec::with_capacity(path.len() + 1);
        for part in path.split('/').rev().filter(|part| !part.is_empty()) {
            components.extend_from_slice(part.as_bytes());
            components.push(0);
        }
        self.find(&components)
    }

    fn remember(&mut self, key: Vec<u8>, identity: cgroup::Identity) -> Found {
        if self.by_path.len() >= LIMIT {
            self.by_path.clear();
            self.pods.clear();
        }
        let pod = identity.pod.map(|id| {
            let pod = self.pods.entry(id).or_insert_with_key(|id| Arc::new(Pod { id: id.clone(), ..Pod::default() }));
            pod.clone()
        });
        let container = identity.container.map(|id| Arc::new(Container { id, ..Container::default() }));
        self.by_path.insert(key, (container.clone(), pod.clone()));
        (container, pod)
    }
}

const LIMIT: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_one_pod_share_it_and_what_is_kept_is_bounded() {
        let path = |pod: usize, container: usize| {
            format!(
                "/kubepods.slice/kubepods-pod{pod:08x}_1111_2222_3333_444444444444.slice/cri-containerd-{container:064x}.scope"
            )
        };
        let mut containers = Containers::default();
        let (first, pod) = containers.find_path(&path(7, 1));
        let (second, same) = containers.find_path(&path(7, 2));
        let (pod, same) = (pod.expect("a pod"), same.expect("a pod"));
        assert!(Arc::ptr_eq(&pod, &same) && first != second);
        assert_eq!(pod.id, "00000007-1111-2222-3333-444444444444");
        for at in 0..2 * LIMIT {
            let (_, other) = containers.find_path(&path(8 + at, at));
            assert!(other.is_some_and(|other| other.id != pod.id));
            assert!(containers.by_path.len() <= LIMIT && containers.pods.len() <= LIMIT);
        }
    }
}
