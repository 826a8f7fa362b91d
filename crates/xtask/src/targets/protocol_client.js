export function connect(url, token, onMessage) {
  const stop = [1000, 1002, 1007, 4400, 4403, 4409]; // the close codes after which nobody comes back
  const rooms = new Map(); // room id → seq of the newest change that was processed
  const unsent = new Map(); // client_id → the message, until its receipt is there
  const asked = new Map(); // event id → the event, until it is answered
  let socket, action, wait, tries = 0, open = false;

  function ask(type, payload, id = crypto.randomUUID()) {
    asked.set(id, { type, id, payload });
    if (open) socket.send(JSON.stringify(asked.get(id)));
  }
  const join = (room_id) => ask("room.join", { room_id, since_seq: rooms.get(room_id) });
  const say = (message) => ask("chat.message.send", message, message.client_id);

  async function start() {
    [action, wait] = ["resume", 500 * 2 ** Math.min(tries++, 6)];
    const again = () => setTimeout(start, wait * (0.75 + Math.random() / 2));
    try {
      socket = new WebSocket(`${url}?token=${encodeURIComponent(await token())}`);
    } catch {
      return again();
    }
    const hello = { type: "system.hello", payload: { peer_type: "client", version: "1.0.0" } };
    socket.onopen = () => socket.send(JSON.stringify(hello));
    socket.onmessage = ({ data }) => heard(JSON.parse(data));
    let over = false;
    socket.onclose = socket.onerror = ({ code }) => {
      if (over) return; // some runtimes tell a failed connection by one of the two only, others by both
      [over, open] = [true, false];
      if (action !== "stop" && !stop.includes(code)) again(); // "reconnect": token() must yield a new one
    };
  }

  function heard({ type, to, reply_to, payload }) {
    const question = asked.get(reply_to);
    asked.delete(reply_to);
    if (type === "system.welcome") {
      [open, tries] = [true, 0];
      asked.clear();
      for (const room_id of rooms.keys()) join(room_id);
      for (const message of unsent.values()) say(message);
    } else if (type === "room.joined") {
      const first = rooms.get(payload.room_id) === undefined;
      if (first || payload.gap) rooms.set(payload.room_id, payload.last_seq); // and read history over REST
    } else if (type === "chat.message.created") {
      unsent.delete(payload.message.client_id);
      if (to !== payload.room_id) return; // a receipt alone, outside of the room's order
      rooms.set(payload.room_id, payload.seq);
      onMessage(payload.message);
    } else if (type === "system.error" && question) {
      if (payload.retryable) {
        setTimeout(() => ask(question.type, question.payload, question.id), payload.retry_after_ms ?? 1000);
      } else {
        unsent.delete(question.id); // refused for good: tell the person payload.message
      }
    } else if (type === "system.token_expiring") {
      token().then((token) => ask("system.auth", { token }));
    } else if (type === "system.goodbye") {
      [action, wait] = [payload.action, Math.max(wait, payload.retry_after_ms)];
    }
  }

  start();
  return {
    join(room_id) {
      rooms.set(room_id, rooms.get(room_id));
      if (open) join(room_id);
    },
    send(room_id, content, client_id = crypto.randomUUID()) {
      unsent.set(client_id, { room_id, content, client_id });
      if (open) say(unsent.get(client_id));
    },
  };
}
