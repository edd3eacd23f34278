//! What is said, in the languages this script speaks.

use crate::Appointment;

/// The words of one language.
pub struct Words {
    /// BCP 47 tag of the voice.
    pub language: &'static str,
    greeting: fn(&Appointment) -> String,
    menu: &'static str,
    menu_person: &'static str,
    /// After a silence, before the menu is repeated.
    pub silence: &'static str,
    /// After an answer that is none, before the menu is repeated.
    pub not_understood: &'static str,
    /// After another one, and for who asks for help.
    pub explained: &'static str,
    /// How it is confirmed.
    pub to_confirm: &'static [&'static str],
    /// How another time is asked for.
    pub to_move: &'static [&'static str],
    /// How a person is.
    pub to_talk: &'static [&'static str],
    /// To the offer of a person.
    pub yes: &'static [&'static str],
    /// … and not.
    pub no: &'static [&'static str],
    /// When it is confirmed.
    pub confirmed: &'static str,
    /// When another time is asked for.
    pub moved: &'static str,
    /// When a person is.
    pub connecting: &'static str,
    /// When the person does not pick up.
    pub nobody_there: &'static str,
    /// When the person is done and the caller is still there.
    pub goodbye: &'static str,
    /// When the business system cannot tell which appointment it is.
    pub no_details: &'static str,
    /// … and somebody could help.
    pub offer_person: &'static str,
    /// … and nobody can, or the offer was not taken.
    pub call_back: &'static str,
    /// When the menu got no answer.
    pub no_answer: &'static str,
}

impl Words {
    /// The words of the setting `language`; English where it names another one.
    pub fn of(setting: Option<&str>) -> &'static Self {
        match setting {
            Some(tag) if tag == "cmn" || tag.starts_with("zh") => &MANDARIN,
            _ => &ENGLISH,
        }
    }

    /// Who is meant, and when and where.
    pub fn greeting(&self, appointment: &Appointment) -> String {
        (self.greeting)(appointment)
    }

    /// What can be said and pressed; a person only where there is one.
    pub fn menu(&self, person: bool) -> String {
        format!("{}{}", self.menu, if person { self.menu_person } else { "" })
    }
}

static ENGLISH: Words = Words {
    language: "en",
    greeting: |a| {
        format!(
            "Hello, {}. This is a reminder of your appointment on {} at {}, at {}.",
            a.name, a.date, a.time, a.place
        )
    },
    menu: "To confirm it, press 1. For another time, press 2.",
    menu_person: " To talk to a person, press 3.",
    silence: "I did not hear you.",
    not_understood: "I did not understand that.",
    explained: "You can say: confirm, or: another time. You can press the keys as well.",
    to_confirm: &[
        "confirm",
        "confirm it",
        "yes",
        "yes confirm it",
        "I will be there",
        "I will come",
        "that is fine",
        "that's fine",
        "keep it",
    ],
    to_move: &[
        "another time",
        "for another time",
        "a different time",
        "another day",
        "move it",
        "change it",
        "reschedule",
        "no",
        "I cannot come",
        "I can't come",
        "I can't make it",
    ],
    to_talk: &["a person", "talk to a person", "speak to a person", "somebody", "talk to somebody"],
    yes: &["yes", "yes please", "please"],
    no: &["no", "no thank you"],
    confirmed: "Thank you, it is confirmed. Goodbye.",
    moved: "Very well. We will call you to find another time. Goodbye.",
    connecting: "One moment, I am connecting you.",
    nobody_there: "I am sorry, nobody can take your call just now. We will call you back. Goodbye.",
    goodbye: "Thank you for calling. Goodbye.",
    no_details: "Hello, this is a reminder of your appointment. I am sorry, I cannot see its details just now.",
    offer_person: "To talk to a person, press 3.",
    call_back: "Please call us back later. Goodbye.",
    no_answer: "We will try again another time. Goodbye.",
};

static MANDARIN: Words = Words {
    language: "zh-CN",
    greeting: |a| format!("您好，{}。提醒您，您在{}的预约时间是{}，{}。", a.name, a.place, a.date, a.time),
    menu: "确认请按1，改期请按2",
    menu_person: "，转人工请按3",
    silence: "我没有听到您的回答。",
    not_understood: "对不起，我没有听懂。",
    explained: "您可以说：确认，或者：改期。也可以按键。",
    to_confirm: &["确认", "是的", "对", "好的", "可以", "我会来", "我会去", "没问题"],
    to_move: &["改期", "改时间", "换个时间", "换一天", "不行", "不能来", "我来不了", "去不了"],
    to_talk: &["人工", "转人工", "找人工", "我要人工"],
    yes: &["要", "好的", "是的"],
    no: &["不要", "不用了"],
    confirmed: "谢谢您，预约已确认。再见。",
    moved: "好的，我们会给您打电话，另约时间。再见。",
    connecting: "请稍等，正在为您转接。",
    nobody_there: "很抱歉，现在没有人能接听，我们会给您回电话。再见。",
    goodbye: "感谢您的来电。再见。",
    no_details: "您好，这是预约提醒。很抱歉，现在查不到您的预约。",
    offer_person: "转人工请按3。",
    call_back: "请您稍后再打给我们。再见。",
    no_answer: "我们以后再联系您。再见。",
};
