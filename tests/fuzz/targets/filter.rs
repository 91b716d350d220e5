//! Filters: any text is a filter or an error; `not`, `and` and `or` around it mean what they say.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use tawon::config::Filter;

fuzz_target!(|text: &str| {
    let Ok(filter) = text.parse::<Filter>() else { return };
    // Parentheses may make it too deep or too long, and then there is nothing to compare.
    let [Ok(same), Ok(negated), Ok(never), Ok(always)] = [
        format!("({text})"),
        format!("not ({text})"),
        format!("({text}) and not ({text})"),
        format!("({text}) or not ({text})"),
    ]
    .map(|text| text.parse::<Filter>()) else {
        return;
    };
    let ends: [SocketAddr; 4] = [
        ([10, 0, 0, 1], 80).into(),
        ([192, 0, 2, 7], 8080).into(),
        ([0, 0, 0, 0, 0, 0, 0, 1], 53).into(),
        ([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1], 65535).into(),
    ];
    for src in ends {
        for dst in ends {
            for proto in [6, 17, 132] {
                let passes = filter.matches(src, dst, proto);
                assert_eq!(same.matches(src, dst, proto), passes);
                assert_eq!(negated.matches(src, dst, proto), !passes);
                assert!(!never.matches(src, dst, proto));
                assert!(always.matches(src, dst, proto));
            }
        }
    }
});
