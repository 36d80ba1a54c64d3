// A film that is played, or drawn by hand: by pointer, or by the arrow keys on the slider.
for (const player of document.querySelectorAll(".player")) {
  const { frames, labels } = JSON.parse(player.querySelector("script").textContent);
  const [image, button, slider, label] = ["img", "button", "input", "output"].map((tag) => player.querySelector(tag));
  const last = frames.length - 1;
  let timer = null;
  const show = (number) => {
    slider.value = number;
    image.src = frames[number];
    label.value = labels[number];
    slider.setAttribute("aria-valuetext", labels[number]);
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    button.textContent = "Play";
  };
  const advance = () => (+slider.value < last ? show(+slider.value + 1) : stop());
  slider.addEventListener("input", () => { stop(); show(+slider.value); });
  button.addEventListener("click", () => {
    if (timer !== null) return stop();
    if (+slider.value === last) show(0);
    button.textContent = "Pause";
    timer = setInterval(advance, 120);
  });
  show(last);
  player.querySelector(".controls").hidden = false;
}
