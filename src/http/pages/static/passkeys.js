// Passkeys, for the pages that use them. Their buttons are hidden where this does not run.

// The browser answers the options of the server, and the answer goes with the form.
const passkeys = [...document.querySelectorAll("[data-passkey]")];
if (passkeys.length && window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  const ask = async ({ form, dataset: { passkey } }, more) => {
    const token = form.elements.form_token.value;
    const answer = await fetch("/account/passkeys/options/", {
      method: "POST",
      body: new URLSearchParams({ form_token: token, for: passkey }),
    });
    if (!answer.ok) throw answer;
    const { session_id: session = "", ...options } = await answer.json();
    const credential =
      passkey === "register"
        ? await navigator.credentials.create({
            publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options),
          })
        : await navigator.credentials.get({
            publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options),
            ...more,
          });
    form.querySelector("[data-credential]").value = JSON.stringify(credential.toJSON());
    form.querySelector("[data-session]").value = session;
    form.submit();
  };
  // Suggests passkeys in the address field. Options last five minutes.
  let waiting;
  let renewal;
  const stop = () => {
    clearTimeout(renewal);
    waiting?.abort();
  };
  const suggest = (button) => {
    stop();
    waiting = new AbortController();
    ask(button, { mediation: "conditional", signal: waiting.signal }).catch(() => {});
    renewal = setTimeout(suggest, 240_000, button);
  };
  for (const button of passkeys) {
    const problem = button.parentElement.querySelector("[data-problem]");
    button.hidden = false;
    button.addEventListener("click", async (event) => {
      const { form } = button;
      event.preventDefault();
      if (button.dataset.passkey === "register" && !form.reportValidity()) return;
      stop();
      problem.hidden = true;
      button.disabled = true;
      await ask(button).catch((error) => {
        // The page is too old for what it wants to do.
        if (error.status === 403) location.reload();
        else problem.hidden = false;
      });
      button.disabled = false;
    });
  }
  const field = passkeys.find((button) => "autofill" in button.dataset);
  // A passkey that was refused just now would only be refused again.
  const isFresh = !document.querySelector("[data-focus]");
  if (field && isFresh && (await PublicKeyCredential.isConditionalMediationAvailable?.())) suggest(field);
}
// Says that this device could keep a passkey, so that one is offered after signing in.
for (const input of document.querySelectorAll("[data-can-passkey]")) {
  window.PublicKeyCredential?.isUserVerifyingPlatformAuthenticatorAvailable?.().then((can) => {
    input.value = can ? "yes" : "";
  });
}
