//! Sizes of images.

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    pub(super) fn new((width, height): (u32, u32)) -> Self {
        Self { width, height }
    }

    /// The number of pixels.
    pub(super) fn pixels(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }

    /// The longer side.
    pub(super) fn longer(self) -> u32 {
        self.width.max(self.height)
    }

    /// The size at `1 / factor`, where incomplete pixels at the edges count as whole ones.
    pub(super) fn reduced(self, factor: u32) -> Self {
        Self {
            width: self.width.div_ceil(factor),
            height: self.height.div_ceil(factor),
        }
    }

    /// The size whose longer side is `max_side`, if it is longer now.
    pub(super) fn fitted(self, max_side: u32) -> Self {
        let longer = self.longer();
        if longer <= max_side {
            return self;
        }
        let scaled = |side: u32| {
            let exact = u64::from(side) * u64::from(max_side) + u64::from(longer) / 2;
            u32::try_from(exact / u64::from(longer))
                .unwrap_or(max_side)
                .max(1)
        };
        Self {
            width: scaled(self.width),
            height: scaled(self.height),
        }
    }
}
