//! What code points within IEs mean (TS 29.244 clause 8.2).

use super::layout::Names;

/// Clause 8.2.1.
#[rustfmt::skip]
pub(super) static CAUSES: Names = &[
    (1, "Request accepted (success)"), (2, "More Usage Report to send"), (3, "Request partially accepted"),
    (64, "Request rejected (reason not specified)"), (65, "Session context not found"),
    (66, "Mandatory IE missing"), (67, "Conditional IE missing"), (68, "Invalid length"),
    (69, "Mandatory IE incorrect"), (70, "Invalid Forwarding Policy"), (71, "Invalid F-TEID allocation option"),
    (72, "No established PFCP Association"), (73, "Rule creation/modification Failure"),
    (74, "PFCP entity in congestion"), (75, "No resources available"), (76, "Service not supported"),
    (77, "System failure"), (78, "Redirection Requested"), (79, "All dynamic addresses are occupied"),
    (80, "Unknown Pre-defined Rule"), (81, "Unknown Application ID"), (82, "L2TP tunnel Establishment failure"),
    (83, "L2TP session Establishment failure"), (84, "L2TP tunnel release"), (85, "L2TP session release"),
    (86, "PFCP session restoration failed due to requested resource not available"),
];

/// Clauses 8.2.2 and 8.2.24.
#[rustfmt::skip]
pub(super) static SOURCE_INTERFACES: Names = &[
    (0, "Access"), (1, "Core"), (2, "SGi-LAN/N6-LAN"), (3, "CP-function"), (4, "5G VN Internal"),
];
#[rustfmt::skip]
pub(super) static DESTINATION_INTERFACES: Names = &[
    (0, "Access"), (1, "Core"), (2, "SGi-LAN/N6-LAN"), (3, "CP-function"), (4, "LI Function"), (5, "5G VN Internal"),
];

/// Clause 8.2.7.
pub(super) static GATES: Names = &[(0, "OPEN"), (1, "CLOSED")];

/// Clause 8.2.20.
#[rustfmt::skip]
pub(super) static REDIRECT_ADDRESS_TYPES: Names = &[
    (0, "IPv4 address"), (1, "IPv6 address"), (2, "URL"), (3, "SIP URI"), (4, "IPv4 and IPv6 addresses"),
    (5, "Port"), (6, "IPv4 address and Port"), (7, "IPv6 address and Port"), (8, "IPv4 and IPv6 addresses and Port"),
];

/// Clause 8.2.38.
pub(super) static NODE_ID_TYPES: Names = &[(0, "IPv4 address"), (1, "IPv6 address"), (2, "FQDN")];

/// Clause 8.2.35.
#[rustfmt::skip]
pub(super) static TIMER_UNITS: Names = &[
    (0, "2 seconds"), (1, "1 minute"), (2, "10 minutes"), (3, "1 hour"), (4, "10 hours"), (7, "infinite"),
];

/// Clause 8.2.43.
#[rustfmt::skip]
pub(super) static CSID_NODE_ID_TYPES: Names = &[
    (0, "global unicast IPv4 address"), (1, "global unicast IPv6 address"),
    (2, "MCC, MNC and a number within"),
];
#[rustfmt::skip]
pub(super) static CSID_NODE_TYPES: Names = &[
    (0, "MME"), (1, "SGW-C"), (2, "PGW-C/SMF"), (3, "ePDG"), (4, "TWAN"), (5, "PGW-U/SGW-U/UPF"),
];

/// Clause 8.2.61.
#[rustfmt::skip]
pub(super) static FLOW_DIRECTIONS: Names = &[
    (0, "Unspecified"), (1, "Downlink"), (2, "Uplink"), (3, "Bidirectional"),
];

/// Clause 8.2.63.
pub(super) static TIME_UNITS: Names = &[(0, "minute"), (1, "6 minutes"), (2, "hour"), (3, "day"), (4, "week")];

/// Clause 8.2.64.
#[rustfmt::skip]
pub(super) static OUTER_HEADERS: Names = &[
    (0, "GTP-U/UDP/IPv4"), (1, "GTP-U/UDP/IPv6"), (2, "UDP/IPv4"), (3, "UDP/IPv6"), (4, "IPv4"), (5, "IPv6"),
    (6, "GTP-U/UDP/IP"), (7, "VLAN S-TAG"), (8, "S-TAG and C-TAG"),
];

/// Clause 8.2.67.
pub(super) static HEADER_TYPES: Names = &[(0, "HTTP")];

/// Clause 8.2.79.
#[rustfmt::skip]
pub(super) static PDN_TYPES: Names = &[
    (1, "IPv4"), (2, "IPv6"), (3, "IPv4v6"), (4, "Non-IP"), (5, "Ethernet"),
];

/// Clause 8.2.80.
#[rustfmt::skip]
pub(super) static RULE_TYPES: Names = &[
    (0, "PDR"), (1, "FAR"), (2, "QER"), (3, "URR"), (4, "BAR"), (5, "MAR"), (6, "SRR"),
];

/// Clause 8.2.81.
pub(super) static BASE_TIME_INTERVALS: Names = &[(0, "CTP"), (1, "DTP")];

/// Clause 8.2.118.
#[rustfmt::skip]
pub(super) static INTERFACE_TYPES: Names = &[
    (0, "S1-U"), (1, "S5/S8-U"), (2, "S4-U"), (3, "S11-U"), (4, "S12-U"), (5, "Gn/Gp-U"), (6, "S2a-U"), (7, "S2b-U"),
    (8, "eNodeB GTP-U interface for DL data forwarding"), (9, "eNodeB GTP-U interface for UL data forwarding"),
    (10, "SGW/UPF GTP-U interface for DL data forwarding"), (11, "N3 3GPP Access"),
    (12, "N3 Trusted Non-3GPP Access"), (13, "N3 Untrusted Non-3GPP Access"), (14, "N3 for data forwarding"),
    (15, "N9"), (16, "SGi"), (17, "N6"), (18, "N19"), (19, "S8-U"), (20, "Gp-U"), (21, "N9 for roaming"),
    (22, "Iu-U"), (23, "N9 for data forwarding"), (24, "Sxa-U"), (25, "Sxb-U"), (26, "Sxc-U"), (27, "N4-U"),
    (28, "SGW/UPF GTP-U interface for UL data forwarding"), (29, "N6mb/Nmb9"), (30, "N3mb"), (31, "N19mb"),
];

/// Steering Functionality and Steering Mode.
#[rustfmt::skip]
pub(super) static STEERING_FUNCTIONALITIES: Names = &[(0, "ATSSS-LL"), (1, "MPTCP")];
#[rustfmt::skip]
pub(super) static STEERING_MODES: Names = &[
    (0, "Active-Standby"), (1, "Smallest Delay"), (2, "Load Balancing"), (3, "Priority-based"),
];

/// Priority.
#[rustfmt::skip]
pub(super) static PRIORITIES: Names = &[
    (0, "Active"), (1, "Standby"), (2, "No Standby"), (3, "High"), (4, "Low"),
];

/// Access Availability Information.
pub(super) static ACCESS_TYPES: Names = &[(0, "3GPP access type"), (1, "Non-3GPP access type")];
#[rustfmt::skip]
pub(super) static AVAILABILITIES: Names = &[
    (0, "Access has become unavailable"), (1, "Access has become available"),
];

/// RAT Type, as in TS 29.274 clause 8.17.
#[rustfmt::skip]
pub(super) static RAT_TYPES: Names = &[
    (1, "UTRAN"), (2, "GERAN"), (3, "WLAN"), (4, "GAN"), (5, "HSPA Evolution"), (6, "EUTRAN (WB-E-UTRAN)"),
    (7, "Virtual"), (8, "EUTRAN-NB-IoT"), (9, "LTE-M"), (10, "NR"), (11, "WB-E-UTRAN(LEO)"), (12, "WB-E-UTRAN(MEO)"),
    (13, "WB-E-UTRAN(GEO)"), (14, "WB-E-UTRAN(OTHERSAT)"), (15, "EUTRAN-NB-IoT(LEO)"), (16, "EUTRAN-NB-IoT(MEO)"),
    (17, "EUTRAN-NB-IoT(GEO)"), (18, "EUTRAN-NB-IoT(OTHERSAT)"), (19, "LTE-M(LEO)"), (20, "LTE-M(MEO)"),
    (21, "LTE-M(GEO)"), (22, "LTE-M(OTHERSAT)"), (23, "NR(LEO)"), (24, "NR(MEO)"), (25, "NR(GEO)"),
    (26, "NR(OTHERSAT)"), (27, "NR_REDCAP"),
];
