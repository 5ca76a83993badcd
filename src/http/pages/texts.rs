//! What the pages say, in the languages of the mails.

/// The texts of the undo pages. `{email}` stands for the address that is restored.
pub(super) struct UndoTexts {
    /// The language tag (RFC 5646).
    pub(super) language: &'static str,
    pub(super) question: &'static str,
    pub(super) consequences: &'static str,
    pub(super) button: &'static str,
    pub(super) not_needed: &'static str,
    pub(super) done: &'static str,
    pub(super) next_step: &'static str,
    pub(super) dead_link: &'static str,
    pub(super) dead_link_reason: &'static str,
    pub(super) taken: &'static str,
    pub(super) taken_reason: &'static str,
    /// What to do where the link does not help.
    pub(super) way_on: &'static str,
}

/// The texts in the language with this tag, else in English.
pub(super) fn undo(tag: &str) -> &'static UndoTexts {
    LANGUAGES
        .iter()
        .find(|texts| texts.language.eq_ignore_ascii_case(tag))
        .unwrap_or(&LANGUAGES[0])
}

static LANGUAGES: [UndoTexts; 6] = [
    UndoTexts {
        language: "en",
        question: "Undo the change of your address?",
        consequences: "Your account will go back to the address {email}, and every device that is \
                       signed in will be signed out.",
        button: "Undo the change",
        not_needed: "If you made the change yourself, just close this page.",
        done: "The change is undone",
        next_step: "Your account has its former address again, and every device was signed out. \
                    A mail to this address lets you choose a new password. If you did not make \
                    the change, do so now: somebody may know your password.",
        dead_link: "This link does not work any more",
        dead_link_reason: "It was used already, or it is older than seven days.",
        taken: "The change cannot be undone",
        taken_reason: "By now another account uses the former address.",
        way_on: "If you cannot sign in, open the app or website where you use this account and \
                 choose “Forgot password”, or contact its support.",
    },
    UndoTexts {
        language: "de",
        question: "Adressänderung rückgängig machen?",
        consequences: "Dein Konto erhält wieder die Adresse {email}, und alle Geräte werden \
                       abgemeldet.",
        button: "Änderung rückgängig machen",
        not_needed: "Wenn du die Adresse selbst geändert hast, schließe einfach diese Seite.",
        done: "Die Änderung ist rückgängig gemacht",
        next_step: "Dein Konto hat wieder seine frühere Adresse, und alle Geräte wurden \
                    abgemeldet. Mit einer E-Mail an diese Adresse kannst du ein neues Passwort \
                    wählen. Wenn du die Änderung nicht vorgenommen hast, tu das jetzt: \
                    Vielleicht kennt jemand dein Passwort.",
        dead_link: "Dieser Link funktioniert nicht mehr",
        dead_link_reason: "Er wurde bereits benutzt oder ist älter als sieben Tage.",
        taken: "Die Änderung kann nicht rückgängig gemacht werden",
        taken_reason: "Inzwischen nutzt ein anderes Konto die frühere Adresse.",
        way_on: "Wenn du dich nicht anmelden kannst, öffne die App oder Website, in der du dieses \
                 Konto nutzt, und wähle „Passwort vergessen“, oder wende dich an den Support.",
    },
    UndoTexts {
        language: "es",
        question: "¿Deshacer el cambio de tu dirección?",
        consequences: "Tu cuenta volverá a la dirección {email} y se cerrará la sesión en todos los \
                       dispositivos.",
        button: "Deshacer el cambio",
        not_needed: "Si hiciste el cambio tú, simplemente cierra esta página.",
        done: "El cambio se ha deshecho",
        next_step: "Tu cuenta vuelve a tener su dirección anterior y se cerró la sesión en todos \
                    los dispositivos. Con un correo enviado a esta dirección puedes elegir una \
                    nueva contraseña. Si no hiciste el cambio, hazlo ahora: puede que alguien \
                    conozca tu contraseña.",
        dead_link: "Este enlace ya no funciona",
        dead_link_reason: "Ya se usó o tiene más de siete días.",
        taken: "No se puede deshacer el cambio",
        taken_reason: "Entretanto, otra cuenta usa la dirección anterior.",
        way_on: "Si no puedes iniciar sesión, abre la aplicación o el sitio donde usas esta cuenta \
                 y elige «He olvidado mi contraseña», o ponte en contacto con su asistencia.",
    },
    UndoTexts {
        language: "fr",
        question: "Annuler le changement d’adresse ?",
        consequences: "Votre compte reprendra l’adresse {email} et tous les appareils seront \
                       déconnectés.",
        button: "Annuler le changement",
        not_needed: "Si vous êtes à l’origine du changement, fermez simplement cette page.",
        done: "Le changement est annulé",
        next_step: "Votre compte a retrouvé son ancienne adresse et tous les appareils ont été \
                    déconnectés. Un e-mail envoyé à cette adresse vous permet de choisir un \
                    nouveau mot de passe. Si vous n’êtes pas à l’origine du changement, \
                    faites-le maintenant : quelqu’un connaît peut-être votre mot de passe.",
        dead_link: "Ce lien ne fonctionne plus",
        dead_link_reason: "Il a déjà été utilisé ou date de plus de sept jours.",
        taken: "Le changement ne peut pas être annulé",
        taken_reason: "Entre-temps, un autre compte utilise l’ancienne adresse.",
        way_on: "Si vous ne pouvez pas vous connecter, ouvrez l’application ou le site où vous \
                 utilisez ce compte et choisissez « Mot de passe oublié », ou contactez \
                 l’assistance.",
    },
    UndoTexts {
        language: "it",
        question: "Annullare la modifica dell’indirizzo?",
        consequences: "Il tuo account tornerà all’indirizzo {email} e tutti i dispositivi saranno \
                       disconnessi.",
        button: "Annulla la modifica",
        not_needed: "Se hai fatto tu la modifica, chiudi semplicemente questa pagina.",
        done: "La modifica è stata annullata",
        next_step: "Il tuo account ha di nuovo l’indirizzo precedente e tutti i dispositivi sono \
                    stati disconnessi. Con un’e-mail inviata a questo indirizzo puoi scegliere \
                    una nuova password. Se non hai fatto tu la modifica, fallo subito: qualcuno \
                    potrebbe conoscere la tua password.",
        dead_link: "Questo link non funziona più",
        dead_link_reason: "È già stato usato o ha più di sette giorni.",
        taken: "La modifica non può essere annullata",
        taken_reason: "Nel frattempo un altro account usa l’indirizzo precedente.",
        way_on: "Se non riesci ad accedere, apri l’app o il sito in cui usi questo account e scegli \
                 “Password dimenticata”, oppure contatta l’assistenza.",
    },
    UndoTexts {
        language: "pt-BR",
        question: "Desfazer a alteração do seu endereço?",
        consequences: "Sua conta voltará a ter o endereço {email}, e todos os dispositivos serão \
                       desconectados.",
        button: "Desfazer a alteração",
        not_needed: "Se foi você quem fez a alteração, basta fechar esta página.",
        done: "A alteração foi desfeita",
        next_step: "Sua conta voltou a ter o endereço anterior, e todos os dispositivos foram \
                    desconectados. Com um e-mail enviado a este endereço você pode escolher uma \
                    nova senha. Se não foi você quem fez a alteração, faça isso agora: alguém \
                    pode saber a sua senha.",
        dead_link: "Este link não funciona mais",
        dead_link_reason: "Ele já foi usado ou tem mais de sete dias.",
        taken: "A alteração não pode ser desfeita",
        taken_reason: "Nesse meio-tempo, outra conta passou a usar o endereço anterior.",
        way_on: "Se você não consegue entrar, abra o aplicativo ou site em que usa esta conta e \
                 escolha “Esqueci minha senha”, ou fale com o suporte.",
    },
];
