//! Filters of flows by address, port and protocol: the part of libpcap's language that makes sense
//! for sockets. `and` and `or` bind equally and from left to right, as there; `not` binds closest.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::units::{self, Network};

/// A parsed filter. Equal when it means the same, term by term.
#[derive(Clone, PartialEq, Debug)]
pub struct Filter {
    /// In postfix order, so that matching needs no recursion.
    steps: Vec<Step>,
}

impl Filter {
    /// Whether bytes that `src` sends to `dst` pass. `proto` is IANA's protocol number.
    pub fn matches(&self, src: SocketAddr, dst: SocketAddr, proto: u8) -> bool {
        // One bit per operand; the parser keeps at most STACK of them open.
        let mut stack: u64 = 0;
        for step in &self.steps {
            match step {
                Step::Test(test) => stack = stack << 1 | u64::from(test.passes(src, dst, proto)),
                Step::Not => stack ^= 1,
                Step::And => stack = stack >> 1 & (stack | !1),
                Step::Or => stack = stack >> 1 | stack & 1,
            }
        }
        stack & 1 == 1
    }
}

impl FromStr for Filter {
    type Err = String;

    /// The error is one sentence that names the word it stands at.
    fn from_str(text: &str) -> Result<Filter, String> {
        if text.len() > LENGTH {
            return Err(format!("a filter has at most {LENGTH} bytes, this one {}", text.len()));
        }
        let mut parser = Parser { words: words(text), at: 0, steps: Vec::new(), depth: 0 };
        parser.expression()?;
        match parser.peek() {
            None => Ok(Filter { steps: parser.steps }),
            Some(")") => Err("filter: \")\" without \"(\"".to_owned()),
            Some(word) => Err(format!("filter: expected and, or or the end, found {word:?}")),
        }
    }
}

#[derive(Clone, PartialEq, Debug)]
enum Step {
    Test(Test),
    Not,
    And,
    Or,
}

#[derive(Clone, PartialEq, Debug)]
struct Test {
    family: Option<Family>,
    proto: Option<u8>,
    side: Side,
    what: What,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Family {
    V4,
    V6,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Side {
    Either,
    Src,
    Dst,
}

#[derive(Clone, PartialEq, Debug)]
enum What {
    Any,
    Ports(u16, u16),
    Within(Network),
}

impl Test {
    fn passes(&self, src: SocketAddr, dst: SocketAddr, proto: u8) -> bool {
        let family = if dst.ip().to_canonical().is_ipv4() { Family::V4 } else { Family::V6 };
        if self.family.is_some_and(|wanted| wanted != family) || self.proto.is_some_and(|wanted| wanted != proto) {
            return false;
        }
        match self.side {
            Side::Src => self.what.passes(src),
            Side::Dst => self.what.passes(dst),
            Side::Either => self.what.passes(src) || self.what.passes(dst),
        }
    }
}

impl What {
    fn passes(&self, end: SocketAddr) -> bool {
        match self {
            What::Any => true,
            What::Ports(first, last) => (*first..=*last).contains(&end.port()),
            What::Within(network) => network.contains(end.ip()),
        }
    }
}

struct Parser<'a> {
    words: Vec<&'a str>,
    at: usize,
    steps: Vec<Step>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn expression(&mut self) -> Result<(), String> {
        self.term()?;
        while let Some(join) = self.peek().and_then(join) {
            self.at += 1;
            self.term()?;
            self.steps.push(join);
        }
        Ok(())
    }

    fn term(&mut self) -> Result<(), String> {
        let mut negated = false;
        while self.take_if(|word| matches!(word, "not" | "!")) {
            negated = !negated;
        }
        if self.take_if(|word| word == "(") {
            self.depth += 1;
            if self.depth > DEPTH {
                return Err(format!("filter: parentheses go deeper than {DEPTH}"));
            }
            self.expression()?;
            self.depth -= 1;
            if !self.take_if(|word| word == ")") {
                return Err(self.expected("and, or or \")\""));
            }
        } else {
            let test = self.test()?;
            self.steps.push(Step::Test(test));
        }
        if negated {
            self.steps.push(Step::Not);
        }
        Ok(())
    }

    fn test(&mut self) -> Result<Test, String> {
        let family = match self.peek() {
            Some("ip") => Some(Family::V4),
            Some("ip6") => Some(Family::V6),
            _ => None,
        };
        self.at += usize::from(family.is_some());
        let proto = match self.peek() {
            Some("tcp") => Some(6),
            Some("udp") => Some(17),
            _ => None,
        };
        self.at += usize::from(proto.is_some());
        let side = match self.peek() {
            Some("src") => Side::Src,
            Some("dst") => Side::Dst,
            _ => Side::Either,
        };
        self.at += usize::from(side != Side::Either);
        let what = match self.peek() {
            Some("port") => {
                self.at += 1;
                let port = self.port()?;
                What::Ports(port, port)
            }
            Some("portrange") => {
                self.at += 1;
                self.ports()?
            }
            Some("host") => {
                self.at += 1;
                What::Within(self.network(false)?)
            }
            Some("net") => {
                self.at += 1;
                What::Within(self.network(true)?)
            }
            _ if side == Side::Either && (family.is_some() || proto.is_some()) => What::Any,
            _ if side != Side::Either => return Err(self.expected("host, net, port or portrange")),
            _ => return Err(self.expected("host, net, port, portrange, src, dst, tcp, udp, ip, ip6, not or \"(\"")),
        };
        Ok(Test { family, proto, side, what })
    }

    fn port(&mut self) -> Result<u16, String> {
        let port = self.peek().and_then(port).ok_or_else(|| self.expected("a port number"))?;
        self.at += 1;
        Ok(port)
    }

    fn ports(&mut self) -> Result<What, String> {
        let range = self.peek().and_then(|word| word.split_once('-'));
        let range = range.and_then(|(first, last)| Some((port(first)?, port(last)?)));
        let (first, last) = range.ok_or_else(|| self.expected("two port numbers as in 8000-8080"))?;
        if first > last {
            return Err(format!("filter: the port range {first}-{last} is empty"));
        }
        self.at += 1;
        Ok(What::Ports(first, last))
    }

    fn network(&mut self, of_any_length: bool) -> Result<Network, String> {
        let form = if of_any_length { "a network as in 10.0.0.0/8" } else { "an IP address" };
        let word = self.peek().ok_or_else(|| self.expected(form))?;
        if !of_any_length && word.parse::<IpAddr>().is_err() {
            return Err(self.expected(form));
        }
        let network = word.parse().map_err(|error: String| format!("filter: {error}"))?;
        self.at += 1;
        Ok(network)
    }

    fn expected(&self, what: &str) -> String {
        match self.peek() {
            Some(word) => format!("filter: expected {what}, found {word:?}"),
            None => format!("filter: expected {what} at its end"),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).copied()
    }

    fn take_if(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        self.at += usize::from(found);
        found
    }
}

fn join(word: &str) -> Option<Step> {
    match word {
        "and" | "&&" => Some(Step::And),
        "or" | "||" => Some(Step::Or),
        _ => None,
    }
}

fn port(word: &str) -> Option<u16> {
    units::digits(word).and_then(|port| u16::try_from(port).ok())
}

/// Words are parted by white space; parentheses and `!` stand alone.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for mut rest in text.split_ascii_whitespace() {
        while let Some(at) = rest.find(['(', ')', '!']) {
            if at > 0 {
                words.push(&rest[..at]);
            }
            words.push(&rest[at..at + 1]);
            rest = &rest[at + 1..];
        }
        if !rest.is_empty() {
            words.push(rest);
        }
    }
    words
}

const LENGTH: usize = 16 << 10;
/// Each level of parentheses holds one operand open, so DEPTH + 2 bits of the stack are used at most.
const DEPTH: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: u8 = 6;
    const UDP: u8 = 17;

    fn passes(filter: &str, src: &str, dst: &str, proto: u8) -> bool {
        filter.parse::<Filter>().unwrap().matches(src.parse().unwrap(), dst.parse().unwrap(), proto)
    }

    #[test]
    fn each_word_tests_what_it_says() {
        let (a, b) = ("10.0.0.1:4000", "192.0.2.7:8080");
        for (filter, forth, back) in [
            ("port 8080", true, true),
            ("src port 8080", false, true),
            ("dst port 8080", true, false),
            ("host 10.0.0.1", true, true),
            ("src host 10.0.0.1", true, false),
            ("dst host 10.0.0.1", false, true),
            ("net 10.0.0.0/8", true, true),
            ("src net 10.0.0.0/8", true, false),
            ("portrange 8000-8080", true, true),
            ("portrange 8081-9000", false, false),
            ("dst portrange 0-65535", true, true),
            ("ip port 8080", true, true),
            ("ip6 port 8080", false, false),
            ("ip", true, true),
            ("ip6", false, false),
            ("tcp", true, true),
            ("udp", false, false),
            ("tcp dst port 8080", true, false),
            ("ip tcp src port 4000", true, false),
            ("host 10.0.0.2", false, false),
        ] {
            assert_eq!(passes(filter, a, b, TCP), forth, "{filter}");
            assert_eq!(passes(filter, b, a, TCP), back, "{filter}, backwards");
        }
        assert!(passes("udp port 53", "[::1]:9", "[::1]:53", UDP));
        assert!(passes("ip6 and host ::1", "[::1]:9", "[::1]:53", UDP));
        assert!(passes("ip host 127.0.0.1", "[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:53", UDP));
    }

    #[test]
    fn and_or_bind_equally_from_left_to_right_and_not_binds_closest() {
        let eval = |filter: &str| passes(filter, "10.0.0.1:1", "10.0.0.2:2", TCP);
        let (t, f) = ("tcp", "udp");
        for (filter, expected) in [
            (format!("{t} or {t} and {f}"), false),
            (format!("{t} or ({t} and {f})"), true),
            (format!("not {f} and {f}"), false),
            (format!("not ({f} and {f})"), true),
            (format!("!{f}"), true),
            (format!("not not {t}"), true),
            (format!("{t} && !({f} || {f})"), true),
            (format!("{f} or {f} or {t}"), true),
            (format!("{f} and {t} or {t} and {t} and not {f}"), true),
        ] {
            assert_eq!(eval(&filter), expected, "{filter}");
        }
    }

    #[test]
    fn every_shape_of_expression_evaluates_as_its_meaning() {
        // All expressions of four operands, joined and nested in each way, against plain evaluation.
        for bits in 0..1 << 12 {
            let word = |at: u32| if bits >> at & 1 == 1 { "tcp" } else { "udp" };
            let value = |at: u32| bits >> at & 1 == 1;
            let join = |at: u32, a: bool, b: bool| if value(at) { a && b } else { a || b };
            let name = |at: u32| if value(at) { "and" } else { "or" };
            let (text, expected) = if value(7) {
                (
                    format!("{} {} ({} {} ({} {} {}))", word(0), name(4), word(1), name(5), word(2), name(6), word(3)),
                    join(4, value(0), join(5, value(1), join(6, value(2), value(3)))),
                )
            } else {
                (
                    format!(
                        "({} {} {}) {} not {} {} {}",
                        word(0),
                        name(4),
                        word(1),
                        name(5),
                        word(2),
                        name(6),
                        word(3)
                    ),
                    join(6, join(5, join(4, value(0), value(1)), !value(2)), value(3)),
                )
            };
            assert_eq!(passes(&text, "10.0.0.1:1", "10.0.0.2:2", TCP), expected, "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_and_its_deepest_form_still_evaluates() {
        let nested = |depth: usize| format!("{}udp{}", "tcp and (".repeat(depth), ")".repeat(depth));
        assert!(!passes(&nested(DEPTH), "10.0.0.1:1", "10.0.0.2:2", TCP));
        assert!(passes(&nested(DEPTH).replace("udp", "tcp"), "10.0.0.1:1", "10.0.0.2:2", TCP));
        assert!(nested(DEPTH + 1).parse::<Filter>().unwrap_err().contains("deeper than 60"));
        assert!("(".repeat(10_000).parse::<Filter>().is_err());
        assert!("not ".repeat(4_000).parse::<Filter>().is_err());
        assert!(format!("{}tcp", "not ".repeat(4000)).parse::<Filter>().is_ok());
        assert!("x".repeat(LENGTH + 1).parse::<Filter>().is_err());
    }

    #[test]
    fn errors_name_the_word_they_stand_at() {
        for (filter, part) in [
            ("", "expected host, net, port, portrange, src, dst, tcp, udp, ip, ip6, not or \"(\" at its end"),
            ("prot 80", "found \"prot\""),
            ("port", "a port number at its end"),
            ("port http", "expected a port number, found \"http\""),
            ("port 65536", "found \"65536\""),
            ("port -1", "found \"-1\""),
            ("port 80 host 10.0.0.1", "expected and, or or the end, found \"host\""),
            ("port 80 and", "at its end"),
            ("and port 80", "found \"and\""),
            ("(port 80", "expected and, or or \")\" at its end"),
            ("port 80)", "\")\" without \"(\""),
            ("host example.com", "expected an IP address, found \"example.com\""),
            ("host 10.0.0.0/8", "expected an IP address"),
            ("net 10.0.0.0/40", "at most 32 leading bits"),
            ("portrange 9-1", "the port range 9-1 is empty"),
            ("portrange 9", "as in 8000-8080"),
            ("src tcp", "expected host, net, port or portrange, found \"tcp\""),
            ("not", "at its end"),
            ("()", "found \")\""),
        ] {
            let error = filter.parse::<Filter>().unwrap_err();
            assert!(error.contains(part), "{filter}: {error}");
        }
    }
}
