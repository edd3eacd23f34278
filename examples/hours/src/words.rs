//! What is said, in the languages this script speaks.

use callbox_guest::calendar::{Date, TimeOfDay, Weekday};

/// The words of one language.
pub struct Words {
    /// BCP 47 tag of the voice.
    pub language: &'static str,
    /// Who answers.
    pub welcome: fn(&str) -> String,
    /// Before the first office rings.
    pub connecting: &'static str,
    /// Before another one rings, when one did not answer.
    pub another_office: &'static str,
    /// When none answered.
    pub all_busy: &'static str,
    /// When somebody has answered, and has hung up.
    pub goodbye: &'static str,
    /// When no office is open: the office, today there, and when it opens.
    pub closed_until: fn(&str, Date, Date, TimeOfDay) -> String,
    /// … and none will be within a year.
    pub closed: &'static str,
}

impl Words {
    /// The words of the setting `language`; English where it names another one.
    pub fn of(setting: Option<&str>) -> &'static Self {
        match setting {
            Some(tag) if tag == "cmn" || tag.starts_with("zh") => &MANDARIN,
            _ => &ENGLISH,
        }
    }
}

static ENGLISH: Words = Words {
    language: "en",
    welcome: |company| format!("Welcome to {company}."),
    connecting: "One moment, I am connecting you.",
    another_office: "Nobody answers there. I am trying another office.",
    all_busy: "I am sorry, all of our colleagues are busy. Please call again a little later. Goodbye.",
    goodbye: "Thank you for calling. Goodbye.",
    closed_until: |office, today, date, time| {
        let day = match today.days_until(date) {
            0 => "today".to_owned(),
            1 => "tomorrow".to_owned(),
            _ => format!("on {}, {} {}", date.weekday(), date.day(), date.month_name()),
        };
        let time = match (time.hour(), time.minute()) {
            (0, 0) => "midnight".to_owned(),
            (hour, 0) => format!("{hour} o'clock"),
            _ => time.to_string(),
        };
        format!("Our offices are closed now. {office} opens {day} at {time}, local time. Please call again. Goodbye.")
    },
    closed: "Our offices are closed. Goodbye.",
};

static MANDARIN: Words = Words {
    language: "zh-CN",
    welcome: |company| format!("欢迎致电{company}。"),
    connecting: "请稍等，正在为您转接。",
    another_office: "那边无人接听，正在为您转接其他办公室。",
    all_busy: "很抱歉，所有同事都在忙，请您稍后再拨。再见。",
    goodbye: "感谢您的来电。再见。",
    closed_until: |office, today, date, time| {
        let day = match today.days_until(date) {
            0 => "今天".to_owned(),
            1 => "明天".to_owned(),
            _ => format!("{}月{}日，{}，", date.month(), date.day(), weekday(date.weekday())),
        };
        let time = match time.minute() {
            0 => format!("{}点", time.hour()),
            minute => format!("{}点{minute}分", time.hour()),
        };
        format!("现在是下班时间。{office}办公室当地时间{day}{time}开始办公，请您届时再拨。再见。")
    },
    closed: "我们的办公室已停止办公。再见。",
};

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "星期一",
        Weekday::Tuesday => "星期二",
        Weekday::Wednesday => "星期三",
        Weekday::Thursday => "星期四",
        Weekday::Friday => "星期五",
        Weekday::Saturday => "星期六",
        Weekday::Sunday => "星期日",
    }
}
