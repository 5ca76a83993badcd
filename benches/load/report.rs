//! Markdown tables for docs/PERFORMANCE.md, and SVG plots.

use std::fmt::Write as _;

/// Prints a heading and the table.
pub(crate) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(columns: &[&str]) -> Self {
        Self {
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn print(&self, heading: &str) {
        println!("\n### {heading}\n");
        println!("| {} |", self.columns.join(" | "));
        println!("|{}", " --- |".repeat(self.columns.len()));
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

/// Formats a rate or count with thousands separators.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "values are positive and far below 2^63"
)]
pub(crate) fn thousands(value: f64) -> String {
    if value.is_nan() {
        return "–".into();
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = (value.round() as u64).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats milliseconds.
pub(crate) fn millis(value: f64) -> String {
    if value.is_nan() {
        "–".into()
    } else if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// Formats a ratio.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Returns the median.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One line of a plot.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const COLOURS: &[&str] = &[
    "#1f6feb", "#d1242f", "#1a7f37", "#8250df", "#bf8700", "#57606a",
];
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Draws a plot as SVG, both axes logarithmic.
pub(crate) fn plot(title: &str, x_label: &str, y_label: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let decades = |value: fn(&(f64, f64)) -> f64| {
        let least = points().map(value).fold(f64::INFINITY, f64::min);
        let most = points().map(value).fold(f64::NEG_INFINITY, f64::max);
        (least.log10().floor(), most.log10().ceil())
    };
    let (x_from, x_to) = decades(|point| point.0);
    let (y_from, y_to) = decades(|point| point.1);
    let x = |value: f64| {
        LEFT + (value.log10() - x_from) / (x_to - x_from).max(1.0) * (WIDTH - LEFT - RIGHT)
    };
    let y = |value: f64| {
        HEIGHT
            - BOTTOM
            - (value.log10() - y_from) / (y_to - y_from).max(1.0) * (HEIGHT - TOP - BOTTOM)
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{title}</text>\n"
    );
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    // Writing to a String cannot fail.
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        let _ = writeln!(
            svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#d0d7de\"/>"
        );
    };
    let ticks = |from: f64, to: f64| {
        let mut ticks = vec![from];
        while ticks.last().is_some_and(|last| *last < to) {
            ticks.push(ticks.last().unwrap_or(&from) + 1.0);
        }
        ticks
    };
    for exponent in ticks(x_from, x_to) {
        let at = x(10f64.powf(exponent));
        line(at, TOP, at, bottom);
    }
    for exponent in ticks(y_from, y_to) {
        let at = y(10f64.powf(exponent));
        line(LEFT, at, right, at);
    }
    let mut text = |x: f64, y: f64, anchor: &str, colour: &str, text: &str| {
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>"
        );
    };
    for exponent in ticks(x_from, x_to) {
        let value = 10f64.powf(exponent);
        text(x(value), bottom + 18.0, "middle", "black", &decimal(value));
    }
    for exponent in ticks(y_from, y_to) {
        let value = 10f64.powf(exponent);
        text(LEFT - 6.0, y(value) + 4.0, "end", "black", &decimal(value));
    }
    text(
        f64::midpoint(LEFT, right),
        HEIGHT - 12.0,
        "middle",
        "black",
        x_label,
    );
    text(LEFT, TOP - 6.0, "end", "black", y_label);
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        #[expect(clippy::cast_precision_loss, reason = "a handful of curves")]
        let at = TOP + 14.0 + 18.0 * index as f64;
        text(right + 12.0, at, "start", colour, &curve.name);
    }
    for (index, curve) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let path: Vec<String> = curve
            .points
            .iter()
            .map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)))
            .collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for point in &path {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = writeln!(
                svg,
                "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn decimal(value: f64) -> String {
    if value >= 1.0 {
        thousands(value.round()).trim_end_matches(".0").to_owned()
    } else {
        format!("{value}")
    }
}
