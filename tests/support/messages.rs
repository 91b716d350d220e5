//! Messages that several tests and benches take.

/// The record with the ClientHello that curl sent.
pub fn client_hello() -> Vec<u8> {
    let capture = include_bytes!("../data/tls/curl.pcap");
    let at = capture.windows(6).position(|bytes| bytes[..3] == [22, 3, 1] && bytes[5] == 1).unwrap();
    let length = usize::from(u16::from_be_bytes([capture[at + 3], capture[at + 4]]));
    capture[at..at + 5 + length].to_vec()
}

/// An IE of PFCP.
pub fn ie(code: u16, value: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), value].concat()
}

/// A message of PFCP with a SEID.
pub fn pfcp(message_type: u8, flags: u8, ies: &[Vec<u8>]) -> Vec<u8> {
    let body = ies.concat();
    let length = (12 + body.len()) as u16;
    [&[0x21 | flags, message_type][..], &length.to_be_bytes(), &[0; 8], &[0, 0, 7, 0], &body].concat()
}

/// A session establishment of 40 IEs, groups counted too.
pub fn session_establishment() -> Vec<u8> {
    let pdr = |id: u8, interface: u8, teid: u8| {
        let pdi = [
            ie(20, &[interface]),
            ie(21, &[1, 0, 0, 0x10, teid, 10, 0, 0, 2]),
            ie(22, b"\x08internet"),
            ie(93, &[2, 10, 60, 0, 1]),
        ]
        .concat();
        let parts = [ie(56, &[0, id]), ie(29, &[0, 0, 0, 255]), ie(2, &pdi), ie(95, &[0]), ie(108, &[0, 0, 0, id])];
        ie(1, &parts.concat())
    };
    let far = |id: u8| {
        let parameters = [ie(42, &[1]), ie(22, b"\x08internet"), ie(84, &[1, 0, 0, 0, 0x20, id, 10, 0, 0, 3])].concat();
        ie(3, &[ie(108, &[0, 0, 0, id]), ie(44, &[2]), ie(4, &parameters)].concat())
    };
    let volume = [&[1][..], &1_000_000_u64.to_be_bytes()].concat();
    let urr = ie(6, &[ie(81, &[0, 0, 0, 1]), ie(62, &[2]), ie(37, &[2, 0, 0]), ie(31, &volume)].concat());
    let rate = [0, 0, 1, 0x86, 0xa0, 0, 0, 1, 0x86, 0xa0];
    let qer = ie(7, &[ie(109, &[0, 0, 0, 1]), ie(25, &[0]), ie(26, &rate), ie(124, &[9])].concat());
    let ies = [
        ie(60, &[0, 10, 0, 0, 1]),
        ie(57, &[2, 0, 0, 0, 0, 0, 0, 0, 0x11, 10, 0, 0, 1]),
        pdr(1, 0, 1),
        pdr(2, 1, 2),
        far(1),
        urr,
        qer,
        ie(113, &[1]),
    ];
    pfcp(50, 0, &ies)
}

/// IQ data of `length` bytes.
pub fn iq(length: usize) -> Vec<u8> {
    let size = ((length + 4) as u16).to_be_bytes();
    [&[0x10, 0, size[0], size[1], 0x12, 0x34, 0, 0x80][..], &vec![0x5a; length]].concat()
}
