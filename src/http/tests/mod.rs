//! The server against real sockets, with time that the tests make up.

mod house;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use self::house::{House, listens};
use super::listener::Scope;
use crate::time::Instant;

#[test]
fn every_route_answers_get_and_head_with_the_same_fields() {
    let mut house = House::new();
    for (path, content_type) in [
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/healthz", "text/plain; charset=utf-8"),
        ("/readyz", "text/plain; charset=utf-8"),
        ("/directives", "application/json"),
        ("/", "text/html; charset=utf-8"),
    ] {
        let get = house.ask(&format!("GET {path}?x=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let head = house.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        let (fields, body) = get.split_once("\r\n\r\n").unwrap();
        assert!(fields.starts_with("HTTP/1.1 200 OK\r\n"), "{get}");
        assert!(
            fields.contains(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len())),
            "{get}"
        );
        assert_eq!(head, format!("{fields}\r\n\r\n"));
    }
}

#[test]
fn a_connection_carries_many_requests_and_those_sent_ahead_are_answered_in_order() {
    let mut house = House::new();
    let mut client = house.connect();
    for _ in 0..3 {
        client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(house.read(&mut client, |got| got.ends_with("\r\n\r\nok\n")).starts_with("HTTP/1.1 200"));
    }
    let ahead = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".repeat(300);
    let ahead = ahead + "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    client.write_all(ahead.as_bytes()).unwrap();
    let got = house.read(&mut client, |_| false);
    let codes: Vec<&str> = got.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    let wanted: Vec<&str> = ["200", "404"].repeat(300).into_iter().chain(["200"]).collect();
    assert_eq!(codes, wanted);
    assert_eq!(house.count("healthz", "200"), 303);
    assert_eq!(house.count("other", "404"), 300);
}

#[test]
fn one_turn_makes_only_a_few_answers_so_that_the_rings_get_theirs() {
    let mut house = House::new();
    let mut client = house.connect();
    client.write_all("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100).as_bytes()).unwrap();
    let mut before = 0;
    house.until(|house| {
        let now = house.count("metrics", "200");
        assert!(now - before <= 4, "{} answers in one turn", now - before);
        before = now;
        now == 100
    });
}

#[test]
fn what_is_refused_says_why_and_closes() {
    let mut house = House::new();
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", "404 Not Found"),
        ("GET / HTTP/1.1\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}", "400 Bad Request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 HTTP Version Not Supported"),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", "413 Content Too Large"),
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "411 Length Required"),
    ] {
        let mut client = house.connect();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let got = house.read(&mut client, |_| false);
        assert!(got.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {got}");
        assert_eq!(got.contains("Allow: GET, HEAD\r\n"), status.starts_with("405"));
    }
    let mut client = house.connect();
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    client.write_all(long.as_bytes()).unwrap();
    assert!(house.read(&mut client, |_| false).starts_with("HTTP/1.1 431 "), "the rest is read, so no reset");
}

#[test]
fn an_answer_to_head_has_no_body_however_early_it_is_refused() {
    let mut house = House::new();
    for (request, status) in [
        ("HEAD /healthz HTTP/1.1\r\n\r\n", "400"),
        ("HEAD /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400"),
        ("HEAD /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", "413"),
        ("HEAD /healthz HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", "400"),
        ("HEAD /healthz HTTP/3.0\r\n\r\n", "505"),
        ("HEAD /nowhere HTTP/1.0\r\n\r\n", "404"),
    ] {
        let got = house.ask(request);
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {got}");
        assert!(got.ends_with("\r\n\r\n") && !got.contains("Content-Length: 0"), "{request:?}: {got}");
        let got = house.ask(&request.replace("HEAD", "GET"));
        assert!(!got.ends_with("\r\n\r\n"), "{request:?}: {got}");
    }
    house.until(|house| house.open() == 0);
    let mut half = house.connect();
    half.write_all(b"HEAD /healthz HTTP/1.1\r\n").unwrap();
    house.until(|house| house.open() == 1);
    house.pass(Duration::from_millis(5_100));
    let got = house.read(&mut half, |_| false);
    assert!(got.starts_with("HTTP/1.1 408 ") && got.ends_with("\r\n\r\n"), "{got}");
}

#[test]
fn a_body_is_passed_over_and_the_next_request_is_answered() {
    let mut house = House::new();
    let mut client = house.connect();
    let body = "GET /nowhere HTTP/1.1\r\n\r\n".repeat(2000);
    client
        .write_all(format!("GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes())
        .unwrap();
    house.read(&mut client, |got| got.ends_with("ok\n"));
    let rest = format!("{body}GET /readyz HTTP/1.0\r\n\r\n");
    client.write_all(rest.as_bytes()).unwrap();
    assert!(
        house
            .read(&mut client, |_| false)
            .ends_with("Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\nok\n")
    );
    assert_eq!((house.count("other", "404"), house.count("readyz", "200")), (0, 1));
}

#[test]
fn empty_lines_between_requests_begin_none() {
    let mut house = House::new();
    let mut client = house.connect();
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\n\n\r").unwrap();
    house.read(&mut client, |got| got.ends_with("ok\n"));
    house.pass(Duration::from_secs(60));
    // More of them than the buffer holds, and still no byte of a request.
    client.write_all(&b"\n\r".repeat(10_000)).unwrap();
    house.pass(Duration::from_secs(60));
    assert_eq!((house.open(), house.count("other", "408")), (1, 0), "idle as without them");
    client.write_all(b"\nHEAD /healthz HTTP/1.1\r\n\r\n").unwrap();
    let got = house.read(&mut client, |_| false);
    assert!(got.starts_with("HTTP/1.1 400 ") && got.ends_with("\r\n\r\n"), "{got}");

    let mut client = house.connect();
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    house.read(&mut client, |got| got.ends_with("ok\n"));
    for _ in 0..14 {
        client.write_all(b"\r\n").unwrap();
        house.pass(Duration::from_secs(10));
    }
    client.write_all(&b"\r\n".repeat(50_000)).unwrap();
    house.pass(Duration::from_secs(11));
    assert_eq!(house.open(), 0, "they are no reason to stay longer");

    let mut half = house.connect();
    half.write_all(b"\r\n").unwrap();
    house.until(|house| house.open() == 1);
    house.pass(Duration::from_millis(5_100));
    assert!(house.read(&mut half, |_| false).starts_with("HTTP/1.1 408 "), "nor is a first request given longer");
}

#[test]
fn half_a_request_is_given_5_seconds_and_an_unread_answer_10() {
    let mut house = House::new();
    let mut half = house.connect();
    half.write_all(b"GET /metrics HTT").unwrap();
    let mut silent = house.connect();
    house.until(|house| house.open() == 2);
    house.pass(Duration::from_millis(4_900));
    assert_eq!(house.open(), 2);
    half.write_all(b"P/1.1\r\n").unwrap();
    house.pass(Duration::from_millis(200));
    for client in [&mut half, &mut silent] {
        assert!(house.read(client, |_| false).starts_with("HTTP/1.1 408 "));
    }
    drop((half, silent));
    house.until(|house| house.open() == 0);

    house.hall.body = vec![b'x'; 8 << 20];
    let mut slow = house.connect();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    house.until(|house| house.count("metrics", "200") == 1);
    house.pass(Duration::from_millis(9_900));
    assert_eq!(house.open(), 1);
    house.pass(Duration::from_millis(200));
    assert_eq!(house.open(), 0);

    let mut kept = house.connect();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    house.read(&mut kept, |got| got.ends_with("ok\n"));
    house.pass(Duration::from_secs(60));
    assert_eq!(house.open(), 1, "an idle connection stays between scrapes");
    house.pass(Duration::from_secs(100));
    assert_eq!(house.open(), 0);
}

#[test]
fn a_slow_reader_gets_its_whole_answer_in_its_own_time() {
    let mut house = House::new();
    house.hall.body = (0..6 << 20).map(|at| (at % 251) as u8).collect();
    let mut slow = house.connect();
    slow.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    house.until(|house| house.count("metrics", "200") == 1);
    assert_eq!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").lines().next(), Some("HTTP/1.1 200 OK"));
    let got = house.bytes(&mut slow, |_| false);
    assert!(got.ends_with(&house.hall.body) && got.len() > house.hall.body.len());
}

#[test]
fn answers_that_nobody_reads_do_not_pile_up() {
    let mut house = House::new();
    house.hall.body = vec![b'x'; 8 << 20];
    let mut clients: Vec<TcpStream> = (0..10).map(|_| house.connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    house.until(|house| {
        house.count("metrics", "200") + house.count("metrics", "503") + house.count("other", "503") == 10
    });
    assert!(house.count("other", "503") > 0 && house.count("metrics", "200") > 0);
}

#[test]
fn at_most_64_connections_are_held_and_idle_ones_make_room() {
    let mut house = House::new();
    let mut half: Vec<TcpStream> = (0..64).map(|_| house.connect()).collect();
    for client in &mut half {
        client.write_all(b"GET ").unwrap();
    }
    house.until(|house| house.open() == 64);
    let refused = house.ask("GET /healthz HTTP/1.0\r\n\r\n");
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 503 "), "{refused}");
    house.until(|house| house.count("other", "503") == 1);
    half[7].write_all(b"/healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    house.read(&mut half[7], |got| got.ends_with("ok\n"));
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "), "one was idle");
}

#[test]
fn clients_of_one_listener_never_take_the_last_room_of_another() {
    for (flooded, spared) in [(0, 1), (1, 0)] {
        let mut house = House::listening(&[("127.0.0.1:0", Scope::All), ("127.0.0.1:0", Scope::Probes)]);
        let at: Vec<SocketAddr> = house.server.addresses().collect();
        house.at = at[flooded];
        let mut silent: Vec<TcpStream> = (0..60).map(|_| house.connect()).collect();
        house.until(|house| house.open() == 60);
        silent.extend((0..40).map(|_| house.connect()));
        house.until(|house| house.count("other", "503") == 40);
        house.at = at[spared];
        let mut kept: Vec<TcpStream> = (0..4).map(|_| house.connect()).collect();
        for client in &mut kept {
            client.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            assert!(house.read(client, |got| got.ends_with("ok\n")).starts_with("HTTP/1.1 200 "));
        }
        assert_eq!(house.open(), 64);
        // These four are idle, and still no place for the others.
        house.at = at[flooded];
        silent.push(house.connect());
        house.until(|house| house.count("other", "503") == 41);
        kept[0].write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        assert!(house.read(&mut kept[0], |got| got.ends_with("ok\n")).starts_with("HTTP/1.1 200 "));
        // A fifth takes the place of an idle one of its own.
        house.at = at[spared];
        assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
        assert_eq!(house.read(&mut kept[1], |_| false), "", "the one longest idle");
    }
}

#[test]
fn a_listener_that_comes_while_all_places_are_taken_gets_its_own_as_they_fall_free() {
    let mut house = House::new();
    let mut silent: Vec<TcpStream> = (0..64).map(|_| house.connect()).collect();
    house.until(|house| house.open() == 64);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = listens(&[("127.0.0.1:0", Scope::All), (&free.to_string(), Scope::Probes)]);
    house.server.listen(house.poll.registry(), &both).unwrap();
    silent.drain(..4);
    house.until(|house| house.open() == 60);
    let refused = house.ask("GET /healthz HTTP/1.0\r\n\r\n");
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 503 "), "{refused}");
    house.at = free;
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_flood_on_one_listener_delays_no_client_of_another() {
    let mut house = House::listening(&[("127.0.0.1:0", Scope::All), ("127.0.0.1:0", Scope::Probes)]);
    let at: Vec<SocketAddr> = house.server.addresses().collect();
    let _flood: Vec<TcpStream> = (0..200).map(|_| house.connect()).collect();
    house.at = at[1];
    let mut client = house.connect();
    client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    house.until_arrived(&client);
    house.turn();
    assert_eq!(house.count("healthz", "200"), 1, "taken in the first turn, beside the flood");
}

#[test]
fn answers_that_nobody_reads_leave_those_about_health_alone() {
    let mut house = House::listening(&[("127.0.0.1:0", Scope::All), ("127.0.0.1:0", Scope::Probes)]);
    house.hall.body = vec![b'x'; 8 << 20];
    let mut clients: Vec<TcpStream> = (0..10).map(|_| house.connect()).collect();
    for client in &mut clients {
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    }
    house.until(|house| house.count("other", "503") > 0);
    house.at = house.server.addresses().nth(1).unwrap();
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn ten_thousand_connections_are_taken_and_turned_away_without_a_leak() {
    let mut house = House::new();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = descriptors();
    let mut kept = Vec::new();
    for at in 0..10_000 {
        let client = house.connect();
        if at % 500 == 0 {
            kept.push(client);
        }
        if at % 200 == 0 {
            house.turn();
            house.until(|house| house.server.deadline() != Some(Instant(0)));
        }
    }
    house.turn();
    house.until(|house| house.server.deadline() != Some(Instant(0)));
    drop(kept);
    house.until(|house| house.open() == 0);
    house.until(|_| descriptors() <= before + 20); // other tests open some too, for as long as they run
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
}

#[test]
fn gzip_comes_when_it_is_asked_for_and_pays() {
    let mut house = House::new();
    let mut client = house.connect();
    client.write_all(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").unwrap();
    let got = house.bytes(&mut client, |_| false);
    let at = got.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let fields = String::from_utf8_lossy(&got[..at]).into_owned();
    assert!(fields.contains("Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n"), "{fields}");
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(&got[at..]).read_to_end(&mut plain).unwrap();
    assert_eq!(plain, house.hall.body);
    assert!(!house.ask("GET /healthz HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").contains("Content-Encoding"));
    let plain = house.ask("GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip;q=0\r\n\r\n");
    assert!(plain.contains("Vary: Accept-Encoding\r\n") && !plain.contains("Content-Encoding"));
}

#[test]
fn the_probes_listener_shows_health_alone_and_guarded_routes_are_guarded() {
    let mut house = House::listening(&[(":0", Scope::Probes)]);
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    for path in ["/metrics", "/directives", "/"] {
        assert!(house.ask(&format!("GET {path} HTTP/1.0\r\n\r\n")).starts_with("HTTP/1.1 404 "), "{path}");
    }
    house.hall.ready = Err("directive flows has not started");
    assert!(house.ask("GET /readyz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\ndirective flows has not started\n"));
    assert_eq!(house.count("readyz", "503"), 1);
}

#[test]
fn every_address_of_both_families_is_served_by_one_socket() {
    let mut house = House::listening(&[(":0", Scope::All)]);
    let port = house.server.addresses().next().unwrap().port();
    for ip in ["127.0.0.1", "::1"] {
        house.at = SocketAddr::new(ip.parse().unwrap(), port);
        assert!(house.ask("GET /directives HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "), "{ip}: loopback is let in");
    }
}

#[test]
fn an_address_in_use_is_an_error_and_what_stood_stays() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut house = House::new();
    let new = listens(&[("127.0.0.1:0", Scope::All), (&taken.local_addr().unwrap().to_string(), Scope::All)]);
    let error = house.server.listen(house.poll.registry(), &new).unwrap_err();
    assert_eq!(error.cause.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(house.server.addresses().collect::<Vec<_>>(), [house.at]);
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
}

#[test]
fn listeners_are_replaced_without_a_moment_when_nobody_listens() {
    let mut house = House::listening(&[(":0", Scope::All)]);
    let port = house.server.addresses().next().unwrap().port();
    house.at = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
    let wide = format!(":{port}");
    house.server.listen(house.poll.registry(), &listens(&[(&wide, Scope::All)])).unwrap();
    let mut kept = house.connect();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    house.read(&mut kept, |got| got.ends_with("ok\n"));
    let narrow = house.at.to_string();
    for text in [&narrow, &wide, &narrow] {
        let waiting = house.connect();
        house.turn();
        house.server.listen(house.poll.registry(), &listens(&[(text, Scope::All)])).unwrap();
        assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "), "{text}");
        drop(waiting);
    }
    assert_eq!(house.read(&mut kept, |_| false), "", "an idle connection of a listener that went is closed");
    assert_eq!(house.server.addresses().count(), 1);
    let stranger = std::net::TcpListener::bind(house.at);
    assert!(stranger.is_err(), "nobody else may bind what was shared for a moment");
}

#[test]
fn a_connection_outlives_its_listener_with_what_it_was_for() {
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let (probes, metrics) = (free(), free());
    let mut house = House::listening(&[(&probes, Scope::Probes)]);
    let mut client = house.connect();
    client.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    house.until(|house| house.open() == 1);
    // Closed, then another in its place, which is asked for once more.
    for wanted in [&[][..], &[(&*metrics, Scope::All)], &[(&*metrics, Scope::All)]] {
        house.server.listen(house.poll.registry(), &listens(wanted)).unwrap();
        house.turn();
    }
    client.write_all(b"Host: a\r\n\r\n").unwrap();
    assert!(house.read(&mut client, |_| false).starts_with("HTTP/1.1 404 "), "not for metrics");
}

#[test]
fn the_same_address_for_metrics_and_probes_is_one_socket() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for scopes in [[Scope::All, Scope::Probes], [Scope::Probes, Scope::All]] {
        let mut house = House::listening(&[(&free, scopes[0]), (&free, scopes[1])]);
        assert_eq!(house.server.addresses().count(), 1);
        assert!(house.ask("GET /metrics HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 "));
    }
}

#[test]
fn garbage_of_any_shape_neither_stops_nor_grows_the_server() {
    let mut house = House::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..500 {
        let mut bytes = Vec::new();
        let kind = random(&mut seed) % 4;
        for _ in 0..random(&mut seed) % 3000 {
            bytes.push(match kind {
                0 => random(&mut seed) as u8,
                1 => b"GET / HTTP/1.1\r\n:"[random(&mut seed) as usize % 17],
                2 => b"\r\n"[random(&mut seed) as usize % 2],
                _ => b'A',
            });
        }
        let mut client = house.connect();
        let _ = client.write_all(&bytes);
        let _ = client.shutdown(std::net::Shutdown::Write);
        house.bytes(&mut client, |_| false);
    }
    house.until(|house| house.open() == 0);
    assert!(house.ask("GET /healthz HTTP/1.0\r\n\r\n").ends_with("ok\n"));
}

#[test]
fn the_page_names_what_there_is_and_escapes_it() {
    let mut house = House::new();
    house.hall.name = "<b>&\"'".to_owned();
    let page = house.ask("GET / HTTP/1.0\r\n\r\n");
    assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;") && !page.contains("<b>&"), "{page}");
    for part in ["exec_msgs_lost", "1\u{202f}234\u{202f}567", "href=\"/metrics\"", "chip ok", "attach: EPERM"] {
        assert!(page.contains(part), "{part}");
    }
    let json = house.ask("GET /directives HTTP/1.0\r\n\r\n");
    let json: serde_json::Value = serde_json::from_str(json.split_once("\r\n\r\n").unwrap().1).unwrap();
    let directive = &json["directives"][0];
    assert_eq!((&directive["state"], &directive["tasks"][0]["task"]), (&"running".into(), &"exec".into()));
    assert_eq!(json["directives"][1]["status"], "failed");
    assert_eq!(json["losses"]["exec_msgs_lost"], 1_234_567);
}

/// xorshift64: the same garbage in every run.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}
