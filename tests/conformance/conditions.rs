//! Conditions and filters are asked for every process and every flow: they must not allocate.

use std::sync::Arc;

use tawon::config::condition::{Condition, Pattern};
use tawon::config::{Filter, condition::Field};
use tawon::process::{Container, Pod, Process};

use crate::support::alloc;

#[test]
fn deciding_a_condition_and_matching_a_filter_allocate_nothing_once_warm() {
    let labels = vec![("app.kubernetes.io/name".to_owned(), "amf".to_owned())];
    let process = Process {
        pid: 4711,
        name: b"amf".to_vec(),
        exe: b"/opt/amf".to_vec(),
        cmd: b"amf\0--config\0/etc/amf.yaml\0".to_vec(),
        uid: Some(1000),
        container: Some(Arc::new(Container {
            id: "c".to_owned(),
            name: Some("main".to_owned()),
            labels: labels.clone(),
            image: None,
        })),
        pod: Some(Arc::new(Pod { id: "u".to_owned(), name: Some("amf-0".to_owned()), labels, ..Default::default() })),
        ..Default::default()
    };
    let pattern = || Pattern::new("(?-u)^nothing [a-z]+|[0-9]{9}$").unwrap();
    let fields = || Field::ALL.iter().map(|(_, field)| *field);
    let each: Vec<Condition> = fields()
        .map(|field| Condition::Regex(field, pattern()))
        .chain(fields().map(|field| Condition::Equal(field, "x=y".to_owned())))
        .collect();
    let all = Condition::Not(Box::new(Condition::Or(each)));
    let filter: Filter =
        "not (src port 1 or dst net 192.0.2.0/24) and (tcp or udp) and ip portrange 1-9000".parse().unwrap();
    let (src, dst) = ("10.0.0.1:4000".parse().unwrap(), "[::ffff:10.0.0.2]:8080".parse().unwrap());
    let ask = || {
        // The pod's namespace is not known, so that this hangs on what is to come.
        assert_eq!(all.decide(&process), None);
        assert!(filter.matches(src, dst, 6));
    };
    ask();
    assert_eq!(alloc::count(|| (0..100).for_each(|_| ask())), 0);
}
