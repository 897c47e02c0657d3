// So many points of 3 pixels, drawn in every frame by a shader of three lines.
(points) => {
  const canvas = document.body.appendChild(document.createElement("canvas"));
  document.body.style.margin = 0;
  [canvas.width, canvas.height] = [innerWidth - 50, 660]; // as large as a map is
  const gl = canvas.getContext("webgl");
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, "attribute vec2 at; uniform vec3 view; void main() { gl_Position = vec4(at * view.z + view.xy, 0, 1); gl_PointSize = 3.0; }"],
    [gl.FRAGMENT_SHADER, "precision mediump float; void main() { gl_FragColor = vec4(0.1, 0.4, 0.8, 0.8); }"],
  ]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);
  const places = Float32Array.from({ length: 2 * points }, () => (Math.random() + Math.random() + Math.random() - 1.5) / 1.5);
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, places, gl.STATIC_DRAW);
  gl.enableVertexAttribArray(0);
  gl.vertexAttribPointer(gl.getAttribLocation(program, "at"), 2, gl.FLOAT, false, 0, 0);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  const view = gl.getUniformLocation(program, "view");
  const draw = (now) => {
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform3f(view, 0.2 * Math.cos(now / 900), 0.2 * Math.sin(now / 900), 1 + 0.3 * Math.sin(now / 700));
    gl.drawArrays(gl.POINTS, 0, points);
    requestAnimationFrame(draw);
  };
  requestAnimationFrame(draw);
}
