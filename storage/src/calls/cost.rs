//! Money, in whole millionths of the server's currency: sums of them are exact.

/// What a call cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    pub micros: i64,
}

/// What a minute of a call costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallPrice {
    pub micros_per_minute: i64,
}

impl Cost {
    /// The nearest that there is to `amount`.
    pub fn of(amount: f64) -> Self {
        Self { micros: (amount * 1e6).round() as i64 }
    }

    pub fn amount(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

impl CallPrice {
    pub fn per_minute(amount: f64) -> Self {
        Self { micros_per_minute: Cost::of(amount).micros }
    }

    /// By the second, rounded to the nearest millionth.
    pub fn cost_of(self, duration_seconds: u32) -> Cost {
        let micros = self.micros_per_minute.saturating_mul(i64::from(duration_seconds));
        Cost { micros: micros.saturating_add(30) / 60 }
    }
}

#[cfg(test)]
mod tests {
    use super::{CallPrice, Cost};

    #[test]
    fn a_call_costs_its_seconds() {
        let price = CallPrice::per_minute(0.25);
        assert_eq!(price.cost_of(120).amount(), 0.5);
        assert_eq!(price.cost_of(1).micros, 4_167);
        assert_eq!(price.cost_of(0), Cost::default());
        assert_eq!(CallPrice::default().cost_of(u32::MAX), Cost::default());
    }

    #[test]
    fn amounts_come_back_as_they_went_in() {
        for amount in [0.0, 0.1, 0.45, 0.000001, 99_999.999999] {
            assert_eq!(Cost::of(amount).amount(), amount);
        }
    }
}
