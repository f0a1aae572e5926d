// @ts-check
/** Every sentence of the page, in English and Chinese, chosen by the browser's language. Imports nothing. */

/** @param {number} n @param {string} one @param {string} many */
const plural = (n, one, many) => (n === 1 ? one : many);

export const ENGLISH = {
  tagline: "Rooms and direct messages that lose nothing.",
  yourName: "Your name",
  accessToken: "Access token",
  tokenHint: "This server wants a token, which you get from whoever runs it.",
  notKept: "This browser keeps nothing for this page: the name is yours only until you close it.",
  skip: "Skip to the message field",
  enter: "Enter",
  continueAs: "Or continue as",
  nameHint: "Letters, digits, and - _ . – the name is yours in this browser from then on.",
  rooms: "Rooms",
  directMessages: "Direct messages",
  joinRoom: "Join a room",
  newDirect: "New direct message",
  roomName: "Name of the room",
  roomHint: "A room that does not exist yet is made by joining it.",
  openRooms: "Open now",
  personName: "Name of the person",
  presentPeople: "Here now",
  join: "Join",
  open: "Open",
  cancel: "Cancel",
  leaveRoom: "Leave room",
  switchUser: "Switch user",
  members: "Members",
  showMembers: "Show members",
  showList: "Show conversations",
  conversations: "Conversations",
  close: "Close",
  noRooms: "None yet",
  noDirects: "Pick a person in a room to begin",
  welcomeTitle: "Nothing open yet",
  welcomeText: "Join a room to talk with everybody in it, or write to one person.",
  startRoom: "This is the beginning of the room.",
  startKept: "Older messages are no longer kept.",
  startDirect: "This is the beginning of your conversation.",
  startSelf: "A place for notes to yourself.",
  messages: "Messages",
  send: "Send",
  toLatest: "To the latest messages",
  loading: "Loading older messages…",
  gap: "Messages were missed here. Scroll up to load them.",
  gapLost: "Messages were missed here, and the server no longer has them.",
  unread: "New",
  today: "Today",
  yesterday: "Yesterday",
  sending: "Sending…",
  notSent: "not sent",
  draft: "draft",
  queued: "Will be sent when the connection is back",
  retry: "Try again",
  discard: "Discard",
  connecting: "Connecting…",
  reconnectNow: "Reconnect now",
  reload: "Reload",
  dismiss: "Dismiss",
  keys: "Enter sends, Shift+Enter starts a new line",
  you: "you",
  /** @param {string} name */ writeTo: (name) => `Write to ${name}`,
  /** @param {number} n */ present: (n) => `${n} ${plural(n, "member", "members")} here`,
  /** @param {number} n */ more: (n) => `and ${n} more`,
  /** @param {number} n */ unreadCount: (n) => `${n} unread`,
  /** @param {number} n */ newMessages: (n) => `${n} new ${plural(n, "message", "messages")}`,
  /** @param {number} n */ tooLong: (n) => `${n} ${plural(n, "character", "characters")} too long`,
  /** @param {number} n */ left: (n) => `${n} ${plural(n, "character", "characters")} left`,
  /** @param {string} code @param {number} n */ held: (code, n) =>
    code === "rate_limited"
      ? `Too many messages at once. This one goes out in ${n} s.`
      : `The server cannot store anything at the moment. Trying again in ${n} s.`,
  /** @param {string} name */ directFrom: (name) => `Direct message from ${name}`,
  /** @param {string | null} room */ broken: (room) =>
    `${room === null ? "Direct messages" : `Messages of ${room}`} did not arrive in order. They are fetched again.`,
  /** @param {number} n */ retryIn: (n) => `Disconnected. Trying again in ${n} s.`,
  /** @param {string[]} names */ typing: (names) =>
    names.length > 2
      ? "Several people are typing…"
      : `${names.join(" and ")} ${plural(names.length, "is", "are")} typing…`,
  /** @param {string} room @param {string} why */ leftRoom: (room, why) => `You are no longer in ${room}: ${why}`,
  errors: /** @type {Record<string, string>} */ ({
    name_taken: "This name belongs to somebody else. Choose another one.",
    invalid_name: "A name has 1 to 64 letters, digits, and - _ .",
    unauthorized: "The server did not accept this. It may want another token.",
    unknown_user: "Nobody of this name has been here.",
    too_long: "The message is too long.",
    forbidden: "This is not allowed here.",
    not_joined: "You are not in this room.",
    conflict: "Not sent: the message's id is already in use.",
    limit_reached: "The server takes no more of these.",
    unavailable: "The server cannot store anything at the moment.",
    disconnected: "Not connected.",
    unreachable: "The server cannot be reached. Trying again…",
    rate_limited: "Too many requests at once. Try again in a moment.",
    internal: "The server made a mistake.",
    1003: "The page and the server do not understand each other. Reload the page.",
    1007: "The page and the server do not understand each other. Reload the page.",
    1008: "The server ended the connection. Reload the page.",
    1009: "The page and the server do not understand each other. Reload the page.",
    4003: "Your token has expired. Enter a new one.",
    other: "Something went wrong.",
  }),
};

/** @type {typeof ENGLISH} */
export const CHINESE = {
  tagline: "聊天室与私信，一条消息也不丢失。",
  yourName: "你的名字",
  accessToken: "访问令牌",
  tokenHint: "此服务器需要令牌，请向服务器的管理者索取。",
  notKept: "浏览器不为此页面保存任何内容：关闭页面后，这个名字就不再归你。",
  skip: "跳到消息输入框",
  enter: "进入",
  continueAs: "或继续使用",
  nameHint: "可用文字、数字和 - _ . ，此后该名字在这个浏览器中归你所有。",
  rooms: "聊天室",
  directMessages: "私信",
  joinRoom: "加入聊天室",
  newDirect: "新私信",
  roomName: "聊天室名称",
  roomHint: "加入尚不存在的聊天室时会自动创建。",
  openRooms: "当前开放",
  personName: "对方的名字",
  presentPeople: "现在在场",
  join: "加入",
  open: "打开",
  cancel: "取消",
  leaveRoom: "离开聊天室",
  switchUser: "切换用户",
  members: "成员",
  showMembers: "显示成员",
  showList: "显示会话列表",
  conversations: "会话",
  close: "关闭",
  noRooms: "暂无",
  noDirects: "在聊天室中选择一个人即可开始",
  welcomeTitle: "还没有打开会话",
  welcomeText: "加入聊天室与大家交谈，或给某个人写信。",
  startRoom: "这是聊天室的开头。",
  startKept: "更早的消息已不再保存。",
  startDirect: "这是你们对话的开头。",
  startSelf: "写给自己的备忘。",
  messages: "消息",
  send: "发送",
  toLatest: "回到最新消息",
  loading: "正在加载更早的消息…",
  gap: "此处漏掉了一些消息，向上滚动即可加载。",
  gapLost: "此处漏掉了一些消息，服务器上也已不再保存。",
  unread: "新消息",
  today: "今天",
  yesterday: "昨天",
  sending: "发送中…",
  notSent: "未发送",
  draft: "草稿",
  queued: "恢复连接后发送",
  retry: "重试",
  discard: "放弃",
  connecting: "正在连接…",
  reconnectNow: "立即重连",
  reload: "重新加载",
  dismiss: "知道了",
  keys: "Enter 键发送，Shift+Enter 键换行",
  you: "你",
  writeTo: (name) => `发送给 ${name}`,
  present: (n) => `${n} 人在场`,
  more: (n) => `另有 ${n} 人`,
  unreadCount: (n) => `${n} 条未读`,
  newMessages: (n) => `${n} 条新消息`,
  tooLong: (n) => `超出 ${n} 个字符`,
  left: (n) => `还可输入 ${n} 个字符`,
  held: (code, n) =>
    code === "rate_limited" ? `发送太快，此消息将在 ${n} 秒后发出。` : `服务器暂时无法保存内容，${n} 秒后重试。`,
  directFrom: (name) => `${name} 发来私信`,
  broken: (room) => `${room === null ? "私信" : `${room} 的消息`}未按顺序到达，正在重新获取。`,
  retryIn: (n) => `连接已断开，${n} 秒后重试。`,
  typing: (names) => (names.length > 2 ? "多人正在输入…" : `${names.join("、")} 正在输入…`),
  leftRoom: (room, why) => `你已不在 ${room}：${why}`,
  errors: {
    name_taken: "这个名字已属于别人，请换一个。",
    invalid_name: "名字须为 1 到 64 个文字、数字或 - _ .",
    unauthorized: "服务器没有接受，可能需要另一个令牌。",
    unknown_user: "没有这个名字的人来过。",
    too_long: "消息太长。",
    forbidden: "此处不允许这样做。",
    not_joined: "你不在这个聊天室中。",
    conflict: "未发送：消息编号已被使用。",
    limit_reached: "服务器已达上限。",
    unavailable: "服务器暂时无法保存内容。",
    disconnected: "未连接。",
    unreachable: "无法连接服务器，正在重试…",
    rate_limited: "请求太多，请稍后再试。",
    internal: "服务器出错了。",
    1003: "页面与服务器无法沟通，请重新加载页面。",
    1007: "页面与服务器无法沟通，请重新加载页面。",
    1008: "服务器结束了连接，请重新加载页面。",
    1009: "页面与服务器无法沟通，请重新加载页面。",
    4003: "令牌已过期，请输入新的令牌。",
    other: "出了点问题。",
  },
};

/** The first of the reader's languages that the page speaks, as a BCP 47 tag; for dates, too. */
export const language = (() => {
  const wanted = globalThis.navigator?.languages ?? ["en"];
  return wanted.find((tag) => /^(en|zh)\b/i.test(tag)) ?? "en";
})();

export const strings = /^zh\b/i.test(language) ? CHINESE : ENGLISH;

/** @param {string | number} code of an error reply or a close @param {string} [reason] */
export function describeError(code, reason) {
  return strings.errors[code] ?? (reason || strings.errors.other);
}

/** Put the language's text where the document says `data-text`, `data-label` or `data-placeholder`. */
export function translate(/** @type {Document} */ document) {
  const table = /** @type {Record<string, any>} */ (strings);
  document.documentElement.lang = strings === CHINESE ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-text], [data-label], [data-placeholder]")) {
    const { text, label, placeholder } = /** @type {HTMLElement} */ (element).dataset;
    if (text !== undefined) element.textContent = table[text];
    if (placeholder !== undefined) element.setAttribute("placeholder", table[placeholder]);
    if (label !== undefined) {
      element.setAttribute("aria-label", table[label]);
      if (element instanceof HTMLButtonElement) element.title = table[label];
    }
  }
}
