// The model in ONNX Runtime on Android: implementation("com.microsoft.onnxruntime:onnxruntime-android:1.23.0").
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import ai.onnxruntime.TensorInfo
import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONObject

class Model(bundle: File) : Closeable {
    private val signature = JSONObject(File(bundle, "signature.json").readText())
    private val environment = OrtEnvironment.getEnvironment()
    private val session = environment.createSession(File(bundle, signature.getString("model")).path)

    /** Raw bytes by the names of the inputs, one sample each, little-endian; the same for the outputs. */
    fun run(inputs: Map<String, ByteBuffer>): Map<String, ByteBuffer> {
        val given = inputs.mapValues { (name, bytes) ->
            val info = session.inputInfo.getValue(name).info as TensorInfo
            val shape = info.shape.map { if (it < 0) 1L else it }.toLongArray()
            OnnxTensor.createTensor(environment, bytes, shape, info.type)
        }
        try {
            session.run(given).use { found ->
                return found.associate { (name, value) ->
                    val bytes = (value as OnnxTensor).byteBuffer.order(ByteOrder.LITTLE_ENDIAN)
                    name to bytes
                }
            }
        } finally {
            given.values.forEach { it.close() }
        }
    }

    override fun close() = session.close()
}
