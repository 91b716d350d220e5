//! Flow control of HTTP/2 (RFC 9113 section 5.2): windows that are overstepped or too wide are counted, and
//! nothing is where not all of a window is known.

use tawon::task::record::FlowEnd;

use crate::h2_counters::{Moved, moved};
use crate::support::h2::*;

#[test]
fn windows_that_are_overstepped_or_made_too_wide() {
    let ping = || frame(PING, 0, 0, &[0; 8]);
    let told = |rig: &mut Rig| {
        // As long as what is read late may clear it, it is not told.
        assert_eq!(rig.value(FLOW_CONTROL), 0.0);
        rig.pass(2.0);
        rig.send(Rx, &ping());
    };
    // Exactly what a window allows is allowed: of the connection, of a stream, widened, set anew.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, 0, POST), bulk(3, 65_535), data(3, 0, b""), ping()].concat());
            rig.send(Rx, &[window(0, 100_000), window(3, 50_000)].concat());
            rig.send(Tx, &bulk(3, 50_000));
            rig.send(Rx, &initial_window(100_000));
            rig.send(Tx, &[headers(5, 0, POST), bulk(5, 50_000)].concat());
            rig.send(Rx, &window(0, (1 << 31) - 1));
            told(rig);
        },
        &[("h2_invalid_empty_data_frame", 1.0)],
    );
    // One byte more is not, of the stream or of the connection; each frame counts for each window.
    for (first, second, times) in [(65_535, 1, 2.0), (65_536, 0, 2.0), (65_535, 2, 2.0)] {
        let expected: Moved = Box::leak(Box::new([(FLOW_CONTROL, times)]));
        moved(
            &[],
            |rig| {
                rig.send(Tx, &[headers(3, 0, POST), bulk(3, first), bulk(3, second)].concat());
                told(rig);
            },
            expected,
        );
    }
    moved(
        &[],
        |rig| {
            rig.send(Rx, &window(0, 1 << 20));
            rig.send(Tx, &[headers(3, 0, POST), bulk(3, 65_535), data(3, 0, b"x"), data(3, 0, b"y")].concat());
            told(rig);
        },
        &[(FLOW_CONTROL, 2.0)],
    );
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, 0, POST), bulk(3, 40_000), headers(5, 0, POST), bulk(5, 25_536)].concat());
            told(rig);
        },
        &[(FLOW_CONTROL, 1.0)],
    );
    // A smaller initial window holds from its acknowledgement on.
    for (acknowledged, times) in [(false, 0.0), (true, 1.0)] {
        let expected: Moved = if acknowledged { Box::leak(Box::new([(FLOW_CONTROL, times)])) } else { &[] };
        moved(
            &[],
            |rig| {
                // The SETTINGS of the connection's start were not acknowledged by the client yet.
                rig.send(Tx, &frame(SETTINGS, ACK, 0, &[]));
                rig.send(Rx, &initial_window(10_000));
                if acknowledged {
                    rig.send(Tx, &frame(SETTINGS, ACK, 0, &[]));
                }
                rig.send(Tx, &[headers(3, 0, POST), bulk(3, 10_001)].concat());
                told(rig);
            },
            expected,
        );
    }
    // 2^31 - 1 is the widest; one more is an error, of the connection and of a stream.
    let widest = (1 << 31) - 1 - 65_535;
    for (stream, more, expected) in
        [(0, 0, &[][..]), (0, 1, &[(FLOW_CONTROL, 1.0)]), (3, 0, &[]), (3, 1, &[(FLOW_CONTROL, 1.0)])]
    {
        let expected: Moved = expected.to_vec().leak();
        moved(
            &[],
            |rig| {
                rig.send(Tx, &headers(3, 0, POST));
                rig.send(Rx, &[window(stream, widest), if more > 0 { window(stream, more) } else { vec![] }].concat());
                told(rig);
            },
            expected,
        );
    }
}

#[test]
fn windows_of_which_not_all_is_known_are_not_judged() {
    // What is read late clears a suspicion.
    moved(
        &[],
        |rig| {
            rig.send(Tx, &[headers(3, 0, POST), bulk(3, 200_000)].concat());
            rig.send(Rx, &[window(3, 200_000), window(0, 200_000)].concat());
            rig.pass(3.0);
            rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
        },
        &[],
    );
    // So does a gap.
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &[headers(3, 0, POST), bulk(3, 200_000)].concat());
    rig.send_after_gap(Rx, 26, &[window(0, 1), window(0, 1), window(0, 1)].concat());
    rig.pass(3.0);
    rig.send(Tx, &bulk(3, 200_000));
    rig.pass(3.0);
    rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
    assert_eq!(rig.value(FLOW_CONTROL), 0.0);
    // Nobody knows what was allowed before a join.
    let mut rig = Rig::new(&[]);
    rig.join(1);
    rig.send(Tx, &[headers(3, 0, POST), bulk(3, 200_000), frame(PING, 0, 0, &[0; 8])].concat());
    rig.send(Rx, &[headers(3, 0, OK), window(0, (1 << 31) - 1), window(0, (1 << 31) - 1)].concat());
    rig.pass(3.0);
    rig.send(Rx, &frame(PING, 0, 0, &[0; 8]));
    assert_eq!((rig.value(FLOW_CONTROL), rig.value("h2_streams")), (0.0, 1.0));
    // What ends with a suspicion is told of.
    let mut rig = Rig::new(&[]);
    rig.ready();
    rig.send(Tx, &[headers(3, 0, POST), bulk(3, 65_536)].concat());
    rig.end(1, Tx, FlowEnd::Rst);
    assert_eq!(rig.value(FLOW_CONTROL), 2.0);
}

pub fn window(stream: u32, by: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes())
}

pub fn initial_window(size: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&[0, 4][..], &size.to_be_bytes()].concat())
}

/// DATA without END_STREAM of so many bytes in all.
pub fn bulk(stream: u32, bytes: usize) -> Vec<u8> {
    let piece = |at: usize| data(stream, 0, &vec![b'x'; (bytes - at).min(16_384)]);
    (0..bytes).step_by(16_384).flat_map(piece).collect()
}

pub const FLOW_CONTROL: &str = "tawon_h2_protocol_errors_total{flow_control}";
