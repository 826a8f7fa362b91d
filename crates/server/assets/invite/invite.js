// The pages behind the links of invites: one form, which speaks to the API of the server that it came from.
"use strict";
const page = document.body.dataset;
const root = new URL(page.root, location.href);
const part = (name) => document.getElementById(name);
const form = part("form");
const asked = new URLSearchParams(location.search);
const roomCode = page.kind === "room" ? decodeURIComponent(location.pathname.split("/").pop()) : asked.get("room");
let challenge;

async function ask(method, path, body, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(new URL(path, root), { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { ok: answer.ok, status: answer.status, ...(text ? { body: JSON.parse(text) } : {}) };
}

function say(text) {
  part("said").textContent = text;
}

/** What a refusal says: in the page's language where it is a common one. */
function reason(answer) {
  const { code, detail, errors } = answer.body ?? {};
  const known = page[code?.replace(/_(.)/g, (_, letter) => letter.toUpperCase())];
  return known ?? (errors ?? []).map((e) => e.message).join("; ") ?? detail ?? page.failed;
}

function credentials() {
  return { username: part("username").value.trim(), password: part("password").value };
}

async function enter() {
  if (page.kind === "register") {
    const invite = asked.get("invite");
    return ask("POST", "api/auth/register", { ...credentials(), ...(invite ? { invite } : {}) });
  }
  if (challenge) return ask("POST", "api/auth/login/totp", { challenge, code: part("code").value.trim() });
  return ask("POST", "api/auth/login", credentials());
}

async function submit() {
  say("");
  const entered = await enter();
  if (entered.body?.code === "totp_required") {
    challenge = entered.body.challenge;
    part("second").hidden = false;
    part("code").required = true;
    part("code").focus();
    return say(page.totpRequired);
  }
  if (!entered.ok) return say(reason(entered));
  const token = entered.body.access_token;
  const accepted = roomCode ? await ask("POST", `api/invites/${encodeURIComponent(roomCode)}/accept`, null, token) : null;
  // This page keeps no login: the client makes its own.
  await ask("POST", "api/auth/logout", null, token);
  if (accepted && !accepted.ok && page.kind === "room") {
    challenge = undefined;
    return say(reason(accepted));
  }
  form.hidden = true;
  part("other").hidden = true;
  part("name").textContent = entered.body.user.username;
  part("room").textContent = accepted?.ok ? accepted.body.name : "";
  part("in-room").hidden = !accepted?.ok;
  part("server").textContent = root.href.replace(/\/$/, "");
  part("done").hidden = false;
  if (accepted && !accepted.ok) say(reason(accepted));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const button = part("go");
  button.disabled = true;
  submit()
    .catch(() => say(page.failed))
    .finally(() => {
      button.disabled = false;
    });
});

if (page.kind === "room") {
  part("make").href = new URL(`register?room=${encodeURIComponent(roomCode)}`, root).href;
  ask("GET", "api/info").then((info) => {
    part("other").hidden = info.body?.registration !== "open";
  }, () => {});
}
