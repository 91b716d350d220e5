//! SETTINGS payloads (RFC 9113 section 6.5).

/// One setting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    pub id: u16,
    pub value: u32,
}

impl Setting {
    pub const HEADER_TABLE_SIZE: u16 = 0x1;
    pub const ENABLE_PUSH: u16 = 0x2;
    pub const INITIAL_WINDOW_SIZE: u16 = 0x4;
    pub const MAX_FRAME_SIZE: u16 = 0x5;
    /// RFC 8441 section 3.
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

    /// Whether the value is one that section 6.5.2 allows; unknown settings allow all.
    pub const fn valid(&self) -> bool {
        match self.id {
            Setting::ENABLE_PUSH | Setting::ENABLE_CONNECT_PROTOCOL => self.value <= 1,
            Setting::INITIAL_WINDOW_SIZE => self.value < 1 << 31,
            Setting::MAX_FRAME_SIZE => self.value >= 16_384 && self.value < 1 << 24,
            _ => true,
        }
    }
}

/// The settings of a payload, in order; a rest shorter than a setting is left out.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = Setting> + '_ {
    payload
        .as_chunks::<6>()
        .0
        .iter()
        .map(|&[a, b, w, x, y, z]| Setting { id: u16::from_be_bytes([a, b]), value: u32::from_be_bytes([w, x, y, z]) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_in_order_and_judged() {
        let payload = [0, 5, 0, 0, 0x40, 0, 0, 2, 0, 0, 0, 2, 0];
        let read: Vec<_> = settings(&payload).map(|setting| (setting.id, setting.value, setting.valid())).collect();
        assert_eq!(read, [(5, 16384, true), (2, 2, false)]);
    }
}
