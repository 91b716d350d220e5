//! IEs 300 to 322.

use super::super::ie::{Body, Definition};
use super::super::layout::Field::{If, List, One, Spare, Switch, Unless};
use super::super::layout::Scalar::{Bytes, Hex, Ipv4, Ipv6, Number, Octets, Text};
use super::super::layout::{Count, Field, Part};
use super::{flags, ie, label, parts};

#[rustfmt::skip]
pub(super) static IES: &[Definition] = &[
    ie!(300, "MBS Session N4mb Control Information", group),
    ie!(301, "MBS Multicast Parameters", group),
    ie!(302, "Add MBS Unicast Parameters", group),
    ie!(303, "MBS Session N4mb Information", group),
    ie!(304, "Remove MBS Unicast Parameters", group),
    ie!(305, "MBS Session Identifier", [
        flags!["tmgi", "ssmi", "nidi"],
        If(1, &[One(label!("tmgiValue"), Octets(6))]),
        If(2, &[parts![("sourceAddressType", 6, 2, &[]), ("", 0, 6, &[])], Switch(&[(0, &[One(label!("sourceAddress"), Ipv4)]), (1, &[One(label!("sourceAddress"), Ipv6)])]), parts![("distributionAddressType", 6, 2, &[]), ("", 0, 6, &[])], Switch(&[(0, &[One(label!("distributionAddress"), Ipv4)]), (1, &[One(label!("distributionAddress"), Ipv6)])])]),
        If(4, &[One(label!("nid"), Bytes)]),
    ]),
    ie!(306, "Multicast Transport Information", [
        Spare(1),
        One(label!("commonTunnelEndpointIdentifier"), Hex(4)),
        parts![("distributionAddressType", 6, 2, &[]), ("", 0, 6, &[])],
        Switch(&[(0, &[One(label!("distributionAddress"), Ipv4)]), (1, &[One(label!("distributionAddress"), Ipv6)])]),
        parts![("sourceAddressType", 6, 2, &[]), ("", 0, 6, &[])],
        Switch(&[(0, &[One(label!("sourceAddress"), Ipv4)]), (1, &[One(label!("sourceAddress"), Ipv6)])]),
    ]),
    ie!(307, "MBSN4mbReq-Flags", [flags!["pllssm", "jmbssm", "mbsResti"]]),
    ie!(308, "Local Ingress Tunnel", [
        flags!["v4", "v6", "ch"],
        Unless(4, &[One(label!("udpPort"), Number(2)), If(1, &[One(label!("ipv4Address"), Ipv4)]), If(2, &[One(label!("ipv6Address"), Ipv6)])]),
    ]),
    ie!(309, "MBS Unicast Parameters ID", [One(label!("mbsUnicastParametersIdValue"), Number(2))]),
    ie!(310, "MBS Session N4 Control Information", group),
    ie!(311, "MBS Session N4 Information", group),
    ie!(312, "MBSN4Resp-Flags", [flags!["nn19dt", "jmti", "n19dtr"]]),
    ie!(313, "Tunnel Password", [One(label!("tunnelPasswordValue"), Text)]),
    ie!(314, "Area Session ID", [One(label!("areaSessionIdValue"), Number(2))]),
    ie!(315, "Peer UP Restart Report", group),
    ie!(316, "DSCP to PPI Control Information", group),
    ie!(317, "DSCP to PPI Mapping Information", [
        parts![("ppiValue", 0, 3, &[])],
        List(label!("dscp"), Count::Rest, Number(1)),
    ]),
    ie!(318, "PFCPSDRsp-Flags", [flags!["puru"]]),
    ie!(319, "QER Indications", [flags!["iqfis"]]),
    ie!(320, "Vendor-Specific Node Report Type", [
        One(label!("enterpriseId"), Number(2)),
        One(label!("vendorSpecificNodeReportType"), Hex(1)),
    ]),
    ie!(321, "Configured Time Domain", [flags!["ctdi"]]),
    ie!(322, "Metadata", opaque),
];
