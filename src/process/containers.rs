//! Containers and pods by cgroup path, so that the processes of one share one description.

use std::collections::HashMap;
use std::sync::Arc;

use super::cgroup;
use super::{Container, Pod};

/// What is known by path; bounded, since paths come and go with containers.
#[derive(Default)]
pub struct Containers {
    by_path: HashMap<Vec<u8>, Found>,
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
        }
        let pod = identity.pod.map(|id| {
            let known = self.by_path.values().find_map(|(_, pod)| pod.clone().filter(|pod| pod.id == id));
            known.unwrap_or_else(|| Arc::new(Pod { id, ..Pod::default() }))
        });
        let container = identity.container.map(|id| Arc::new(Container { id, ..Container::default() }));
        self.by_path.insert(key, (container.clone(), pod.clone()));
        (container, pod)
    }
}

const LIMIT: usize = 8192;
